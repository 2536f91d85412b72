"""Runs benchmarks one after the other, each in a process of its own.

    python -m benchmarks [--list] [NAME ...]

Without names: all that take minutes. Each keeps its result in benchmarks/results/ and prints it as
one line of JSON.
"""

import argparse
import subprocess
import sys
from typing import NamedTuple

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

KUAIRAND, ML1M = "configs/kuairand.toml", "configs/ml1m.toml"
NOTHING = ""
LONG_MINUTES = 60


class Benchmark(NamedTuple):
    """How a benchmark is run, what it needs first, and how long two quiet cores take."""

    arguments: tuple[str, ...]
    needs: str
    minutes: int


BENCHMARKS = {
    "checkpoint_stall": Benchmark(
        ("--output", "benchmarks/results/checkpoint_stall.json"), NOTHING, minutes=3
    ),
    "prepare": Benchmark((), NOTHING, minutes=5),
    "train_throughput": Benchmark((), NOTHING, minutes=12),
    "serve_http": Benchmark((KUAIRAND,), f"a published bundle of {KUAIRAND}", minutes=6),
    "serve_spike": Benchmark((KUAIRAND,), f"a published bundle of {KUAIRAND}", minutes=5),
    "serve_kills": Benchmark((KUAIRAND,), f"a published bundle of {KUAIRAND}", minutes=6),
    "serve_cache": Benchmark((KUAIRAND,), f"a published bundle of {KUAIRAND}", minutes=1),
    "serve_soak": Benchmark((KUAIRAND,), f"a published bundle of {KUAIRAND}", minutes=22),
    "serve_memory": Benchmark((KUAIRAND,), f"a published bundle of {KUAIRAND}, g++", minutes=4),
    "serve_switch": Benchmark((KUAIRAND,), f"a published bundle of {KUAIRAND}", minutes=5),
    "ranking_runtime": Benchmark((KUAIRAND,), f"prepared data of {KUAIRAND}, g++", minutes=5),
    "ranking_rival": Benchmark((KUAIRAND,), f"prepared data of {KUAIRAND}", minutes=5),
    "ranking_ablation": Benchmark((KUAIRAND,), f"prepared data of {KUAIRAND}", minutes=120),
    "retrieval_ablation": Benchmark((ML1M,), f"prepared data of {ML1M}", minutes=360),
    "train_gpu": Benchmark((), "a GPU", minutes=2),
}
USUAL = tuple(
    name
    for name, benchmark in BENCHMARKS.items()
    if benchmark.minutes < LONG_MINUTES and name != "train_gpu"
)


def main(options: argparse.Namespace) -> int:
    """Run what is named; return 1 where one of them fails."""
    if options.list:
        Console().print(_listed())
        return 0
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        sys.stderr.write(f"error: no benchmark {unknown[0]!r}; known: {', '.join(BENCHMARKS)}\n")
        return 2
    failed = [name for name in options.names or USUAL if not _succeeds(name)]
    if failed:
        sys.stderr.write(f"error: failed: {', '.join(failed)}\n")
    return 1 if failed else 0


def command(name: str) -> list[str]:
    """Return the command line of one benchmark."""
    return [sys.executable, "-m", f"benchmarks.{name}", *BENCHMARKS[name].arguments]


def _succeeds(name: str) -> bool:
    sys.stderr.write(f"{name}, about {BENCHMARKS[name].minutes} min\n")
    return subprocess.run(command(name), check=False).returncode == 0


def _listed() -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("benchmark", "minutes", "needs"):
        table.add_column(heading, justify="right" if heading == "minutes" else "left")
    for name, benchmark in BENCHMARKS.items():
        table.add_row(name, str(benchmark.minutes), benchmark.needs)
    table.caption = f"without names: {', '.join(USUAL)}"
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of benchmarks; see --list")
    parser.add_argument("--list", action="store_true", help="say what there is and what it needs")
    sys.exit(main(parser.parse_args()))
