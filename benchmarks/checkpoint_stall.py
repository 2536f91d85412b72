"""How long a checkpoint holds up training: written beside it, and written while it waits.

    python -m benchmarks.checkpoint_stall [--gigabytes 1] [--root DIR] [--output FILE]

A worker of Ray Train takes steps (a matrix product each, so that the writing competes for the cores
as it does in earnest) and keeps checkpoints of a large state, in turn in both ways. The times of
the steps say what each checkpoint cost.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from pyarrow import fs

from benchmarks.machine import facts
from cluster.config import ClusterConfig
from cluster.session import session
from train.checkpoints import Checkpoints
from train.config import TrainConfig
from train.peers import Peers
from train.progress import Progress
from train.runtime import Runtime
from train.snapshot import Snapshot
from train.state import State
from train.trainer import train_on_ray

DIM = 64
USUAL_STEPS = 20
RESULT = "result.json"


@dataclass(frozen=True)
class Cost:
    """What one checkpoint cost the training, in seconds."""

    stall_s: float
    """The longest time from one step's end to the next's, less a usual step."""
    excess_s: float
    """What all steps until it was written took longer than usual steps."""
    written_s: float
    """From its beginning to its seal."""


class WatchedCheckpoints(Checkpoints):
    """Knows whether one is being written."""

    is_writing = False

    def write(self, name: str, snapshot: Snapshot, peers: Peers) -> None:
        """Write a checkpoint."""
        super().write(name, snapshot, peers)
        self.is_writing = False


class Training:
    """Steps of a fixed size beside a large state.

    Args:
        num_bytes: of the state: a table and its optimizer's sums.
        runtime: that keeps checkpoints.
        checkpoints: of that runtime.
    """

    def __init__(self, num_bytes: int, runtime: Runtime, checkpoints: WatchedCheckpoints) -> None:
        num_rows = num_bytes // (DIM + 1) // 4
        self.table, self.sums = torch.rand(num_rows, DIM), torch.rand(num_rows)
        self.weight = torch.rand(1024, 1024)
        self.runtime = runtime
        self.checkpoints = checkpoints
        self.epoch = 0

    def step(self) -> float:
        """Train a step, changing the state; return its seconds."""
        started = time.perf_counter()
        for _ in range(4):
            self.weight = torch.nn.functional.normalize(self.weight @ self.weight)
        self.table[torch.randint(len(self.table), (4096,))] += 0.01
        return time.perf_counter() - started

    def usual_s(self) -> float:
        """Return the seconds of a step beside which nothing is written."""
        return statistics.median(self.step() for _ in range(USUAL_STEPS))

    def cost(self, *, is_asynchronous: bool) -> Cost:
        """Train over a checkpoint."""
        usual = self.usual_s()
        self.epoch += 1
        self.checkpoints.is_writing = True
        began = time.perf_counter()
        self.runtime.report({}, self.state)
        if not is_asynchronous:
            self.runtime.settle()
        times = [time.perf_counter() - began + self.step()]
        while self.checkpoints.is_writing:
            times.append(self.step())
        written_s = time.perf_counter() - began
        return Cost(max(times) - usual, sum(times) - usual * len(times), written_s)

    @property
    def state(self) -> State:
        """Everything that a checkpoint keeps."""
        return {
            "model": {"table": self.table},
            "tables": {"table": {"sums": self.sums}},
            "position": {"epoch": self.epoch, "step": 0, "best_epoch": 0},
        }


class Deaf:
    """A listener to whom nothing is of interest."""

    def tell(self, progress: Progress) -> None:
        """Ignore it."""


def measure(num_bytes: int, rounds: int, root: Path, runtime: Runtime) -> None:
    """Measure both ways in turn and write their medians; the first round warms up."""
    checkpoints = runtime.checkpoints  # type: ignore[attr-defined]
    training = Training(num_bytes, runtime, checkpoints)
    usual = training.usual_s()
    costs: dict[str, list[Cost]] = {"synchronous": [], "asynchronous": []}
    for _ in range(rounds + 1):
        for name, found in costs.items():
            found.append(training.cost(is_asynchronous=name == "asynchronous"))
    medians = {
        name: {
            field: round(statistics.median(getattr(cost, field) for cost in found[1:]), 4)
            for field in ("stall_s", "excess_s", "written_s")
        }
        for name, found in costs.items()
    }
    (root / RESULT).write_text(json.dumps({"step_s": round(usual, 4), **medians}))


def main() -> None:
    """Measure and print one line of JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoint_stall")
    parser.add_argument("--gigabytes", type=float, default=1.0, help="size of the state")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", type=Path, help="where checkpoints are written")
    parser.add_argument("--output", type=Path, help="write the result here too")
    options = parser.parse_args()
    cpus = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(dir=options.root) as folder, session(ClusterConfig()):
        root = Path(folder)
        checkpoints = WatchedCheckpoints(fs.LocalFileSystem(), f"{root}/runs/stall", {})
        config = TrainConfig(num_workers=1, max_failures=0, cpus_per_worker=cpus)
        num_bytes = int(options.gigabytes * 1e9)
        train_on_ray(partial(measure, num_bytes, options.rounds, root), checkpoints, config, Deaf())
        results = json.loads((root / RESULT).read_text())
    line = {
        "benchmark": "checkpoint_stall",
        "gigabytes": options.gigabytes,
        **results,
        "rounds": options.rounds,
        "cpus": cpus,
        **facts("torch", "ray"),
    }
    if options.output:
        options.output.write_text(json.dumps(line, indent=1) + "\n")
    print(json.dumps(line))


if __name__ == "__main__":
    main()
