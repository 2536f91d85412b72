"""A service at 70 % of its capacity for a long time: whether memory or file descriptors grow.

.venv/bin/python -m benchmarks.serve_soak CONFIG [--minutes 20] [--load 0.7] [--set ...]

Arrivals are Poisson and wait for nobody: recommendations, events, bad requests, health and metrics.
The capacity is measured first, by clients that wait for their answers (`capacity_degraded` is the
share of those that missed something, and cost less). Sizes are proportional sets, in which shared
pages count once, and descriptors, summed over the command and all processes below it: let no other
service of the same environment end meanwhile. Growth compares the medians of the last and the
first fifth of the time after a warm-up. Caches are bounded; here so narrowly that they are full by
then.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.arrivals import LOST, Arrivals, Outcome, Phase, due_times
from benchmarks.soak.family import Family, Sample, growth, growth_by_role, total
from benchmarks.soak.script import Script, mixed_lines
from cluster.command import parser, run
from cluster.errors import ConfigError
from cluster.ports import free_port
from cluster.progress import ProgressBar
from cluster.storage import Storage
from features.examples import Examples
from serve.client import ServiceProcess, serve_command
from serve.config import ServeSettings

RESULTS = Path(__file__).parent / "results" / "serve_soak.json"
OVERRIDES = ("serve.cache.answers.max_entries=200", "serve.cache.vectors.max_entries=200")
NUM_USERS = 1_000
NUM_ITEMS = 1_000
CLIENTS = 2
"""As many as a replica's threads: answers are degraded when more wait for them."""
CAPACITY_S = 15.0
WARM_UP = 0.15
"""Share of the time whose samples do not count."""
KEPT_MINUTES = 20.0
FIRST_5XX = 500
KEPT_SAMPLES = 60
PACKAGES = ("ray", "torch", "lmdb", "numpy")


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Soak, print one JSON line and keep it.

    Raises:
        ConfigError: an option is out of its bounds.
    """
    _check(options)
    port = free_port("127.0.0.1")
    command = serve_command(options.config, port, [*OVERRIDES, *options.overrides])
    script = _script(settings, port)
    seconds = 60 * options.minutes
    with tempfile.TemporaryDirectory(prefix="millrace-soak-") as name:
        service = ServiceProcess(command, port, Path(name) / "serve.log")
        with service:
            capacity = _capacity(script, Path(name) / "bodies.jsonl")
            rate = options.load * capacity["throughput"]
            progress = ProgressBar("soak", round(seconds))
            with progress, Family(service.process_id, progress) as family:
                due = due_times([Phase(rate, seconds)])
                outcomes = asyncio.run(Arrivals(script).send(due))
    result = {
        "benchmark": "serve_soak",
        "minutes": options.minutes,
        "load": options.load,
        "capacity": round(capacity["throughput"], 1),
        "capacity_degraded": round(capacity["degraded"] / capacity["requests"], 3),
        "rate": round(rate, 1),
        **answers(script, outcomes),
        **sizes(family.samples),
        "recommender": settings.recommender,
        **machine.facts(*PACKAGES),
    }
    if options.minutes >= KEPT_MINUTES:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def answers(script: Script, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what became of the requests."""
    statuses = Counter(one.status for one in outcomes)
    latencies = [one.latency_ms for one in outcomes if one.status != LOST]
    unexpected = Counter(script.unexpected(outcomes))
    return {
        "requests": len(outcomes),
        "status_5xx": sum(n for status, n in statuses.items() if status >= FIRST_5XX),
        "lost": statuses[LOST],
        "unexpected": {f"{kind} {status}": n for (kind, status), n in unexpected.items()},
        "degraded": sum(one.degraded is not None for one in outcomes),
        "p50_ms": round(float(np.percentile(latencies, 50)), 1),
        "p99_ms": round(float(np.percentile(latencies, 99)), 1),
    }


def sizes(samples: Sequence[Sample]) -> dict[str, Any]:
    """Return how the service grew after its warm-up, as a whole and by what its processes do."""
    settled = samples[round(WARM_UP * len(samples)) :]
    totals = [total(sample) for sample in settled]
    step = max(len(samples) // KEPT_SAMPLES, 1)
    return {
        "memory_growth": growth([size.pss_mb for size in totals]),
        "anon_growth": growth([size.anon_mb for size in totals]),
        "fd_growth": growth([size.fds for size in totals]),
        "processes": growth_by_role(settled),
        "pss_mb": [round(total(sample).pss_mb) for sample in samples[::step]],
        "fds": [total(sample).fds for sample in samples[::step]],
    }


def _check(options: argparse.Namespace) -> None:
    if not options.minutes > 0:
        raise ConfigError(f"--minutes {options.minutes}: must be above 0")
    if not 0 < options.load < 1:
        raise ConfigError(f"--load {options.load}: must lie between 0 and 1")


def _script(settings: ServeSettings, port: int) -> Script:
    examples = Examples.open(Storage(settings.storage.root, settings.recommender))
    lines = mixed_lines(
        examples.user_ids[:NUM_USERS].to_list(),
        examples.catalogue.table["item_id"][:NUM_ITEMS].to_list(),
        settings.positive,
    )
    return Script("127.0.0.1", port, lines)


def _capacity(script: Script, bodies: Path) -> dict[str, Any]:
    """Return what clients get that ask for recommendations and wait for them."""
    asked = [line.body for line in script.lines if line.kind == "recommendations"]
    bodies.write_text("\n".join(asked))
    command = [sys.executable, "-m", "benchmarks.load", str(script.port), str(bodies)]
    command += ["--clients", str(CLIENTS), "--seconds", str(CAPACITY_S)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    command = parser("benchmarks.serve_soak", "Steady traffic for a long time.")
    command.add_argument("--minutes", type=float, default=KEPT_MINUTES)
    command.add_argument("--load", type=float, default=0.7, help="share of the capacity")
    sys.exit(run(command, ServeSettings, main))
