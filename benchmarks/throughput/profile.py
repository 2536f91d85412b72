"""Where our step's time goes: a table of torch's operators over some steps of the real loop.

python -m benchmarks.throughput.profile WORLD OUTPUT
"""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.throughput.millrace import Rounds, training_of
from benchmarks.throughput.unsaved import UnsavedRuntime
from benchmarks.throughput.world import Batch, World
from train.loop import fit

WARM_UP_STEPS = 10
PROFILED_STEPS = 20
ROWS = 40


class Profiled(Rounds):
    """Warms up, then writes the profile of the steps that follow.

    Args:
        world: the examples.
        output: the table's file.
    """

    def __init__(self, world: World, output: Path) -> None:
        super().__init__("", "millrace", world)
        self.output = output

    def batches(self, epoch: int, rank: int, num_workers: int) -> Iterator[Batch]:
        """Yield the steps to warm up and the steps that are profiled."""
        batches = self.world.batches(rank, num_workers)
        yield from islice(batches, WARM_UP_STEPS)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            yield from islice(batches, PROFILED_STEPS)
        operators = profiler.key_averages()
        total_ms = sum(operator.self_cpu_time_total for operator in operators) / 1e3
        table = operators.table(sort_by="self_cpu_time_total", row_limit=ROWS)
        head = f"{PROFILED_STEPS} steps, {total_ms / PROFILED_STEPS:.1f} ms of operators each\n"
        self.output.write_text(head + table)


def main(world_path: Path, output: Path) -> None:
    """Profile in this process, on one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    objective = Profiled(World(world_path), output)
    fit(objective, training_of("millrace"), UnsavedRuntime())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
