"""How fast `python -m features` prepares synthetic events, and how much memory it takes.

    .venv/bin/python -m benchmarks.prepare [EVENTS ...] [--keep FOLDER]

Rows of sizes that are not asked for stay in the result. `--keep` leaves the prepared data under
FOLDER, so that a training over it can be tried. Wall time is that of the whole command, with the
start of Ray and the generation of the events. Memory is the proportional set size summed over the
command and all processes below it, sampled twice a second: shared pages count once.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.footprint import Footprint
from benchmarks.machine import facts

EVENTS = (20_000, 1_000_000, 10_000_000)
CONFIG = Path("configs/synthetic.toml")
RESULTS = Path(__file__).parent / "results" / "prepare.json"
SAMPLE_INTERVAL_S = 0.5
EVENTS_PER_USER = 100
ITEMS = 20_000
MB = 2**20


class Memory(NamedTuple):
    """Megabytes at one instant."""

    total: float
    largest: float


def main() -> None:
    """Measure every size, print one JSON line and keep it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prepare")
    parser.add_argument("events", type=int, nargs="*", default=EVENTS)
    parser.add_argument("--keep", type=Path, help="leave the prepared data in this folder")
    arguments = parser.parse_args()
    rows = {events: _measured(events, arguments.keep) for events in arguments.events}
    result = {
        "benchmark": "prepare",
        "rows": [row for _, row in sorted({**_kept(), **rows}.items())],
        **facts("ray", "polars", "pyarrow", "numpy"),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _kept() -> dict[int, dict[str, Any]]:
    """Return the committed rows by the number of events asked for."""
    if not RESULTS.exists():
        return {}
    rows = json.loads(RESULTS.read_text())["rows"]
    return {row["asked"]: row for row in rows if "asked" in row}


def _measured(events: int, keep: Path | None) -> dict[str, Any]:
    with nullcontext(str(keep)) if keep else tempfile.TemporaryDirectory() as root:
        started = time.monotonic()
        command = subprocess.Popen([*_command(events, root)], stdout=subprocess.DEVNULL)
        peak = _watch(command)
        seconds = time.monotonic() - started
        if command.returncode:
            raise SystemExit(f"preparing {events:,} events failed")
        examples = Path(root) / "synthetic" / "examples"
        manifest = json.loads((examples / "manifest.json").read_text())
        files = [file for file in examples.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
    row = {
        "asked": events,
        "events": manifest["dataset"]["events"],
        "partitions": manifest["num_partitions"],
        "seconds": round(seconds, 1),
        "events_per_s": round(manifest["dataset"]["events"] / seconds),
        "peak_mb": round(peak.total),
        "largest_process_mb": round(peak.largest),
        "examples_mb": round(size / MB),
    }
    sys.stderr.write(f"{row}\n")
    return row


def _command(events: int, root: str) -> list[str]:
    sizes = {"events": events, "users": max(events // EVENTS_PER_USER, 100), "items": ITEMS}
    overrides = [f"dataset.{name}={value}" for name, value in sizes.items()]
    overrides.append(f"storage.root={root}")
    return [
        *(sys.executable, "-m", "features", str(CONFIG)),
        *(part for override in overrides for part in ("--set", override)),
    ]


def _watch(command: subprocess.Popen[bytes]) -> Memory:
    """Sample memory until the command ends; return the peaks."""
    total = largest = 0.0
    while command.poll() is None:
        sizes = [_megabytes(process) for process in _family(command.pid)]
        total, largest = max(total, sum(sizes)), max(largest, *sizes)
        time.sleep(SAMPLE_INTERVAL_S)
    return Memory(total, largest)


def _family(process: int) -> list[int]:
    """Return a process and everything below it."""
    try:
        files = Path(f"/proc/{process}/task").glob("*/children")
        children = [int(child) for file in files for child in file.read_text().split()]
    except OSError:
        children = []
    return [process, *(member for child in children for member in _family(child))]


def _megabytes(process: int) -> float:
    """Return a process's proportional set size; 0 where it has ended."""
    found = Footprint.of(process)
    return found.pss_mb if found else 0.0


if __name__ == "__main__":
    main()
