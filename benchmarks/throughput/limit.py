"""What the machine could do at best: rates measured between the rounds, and the step's counts.

python -m benchmarks.throughput.limit NAME SOCKET WORLD
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from benchmarks.throughput.rounds import connect
from benchmarks.throughput.world import Sizes, World

SQUARE = 1_024
CHUNK = 256
COUNTED_BATCHES = 4
REPEATS = 5


@dataclass(frozen=True)
class Rates:
    """The best of several measurements: of one thread, in seconds, FLOPs and bytes."""

    fp32_flops: float
    bf16_flops: float
    read_bytes: float
    """Of whole rows of the item table, at the ids of a batch's histories."""
    write_bytes: float
    """Of whole rows of the item table, at the distinct ids of a batch."""

    @classmethod
    def best(cls, measured: "list[Rates]") -> "Rates":
        """Return the highest of each."""
        return cls(*(max(getattr(rates, f.name) for rates in measured) for f in fields(cls)))


@dataclass(frozen=True)
class Work:
    """What a step cannot do without, whatever the code: products, and rows read and written."""

    flops: float
    lookups: float
    """Rows read forward."""
    distinct: float
    """Rows read again and written by the optimizer."""
    row_bytes: int

    @classmethod
    def of(cls, world: World) -> "Work":
        """Count the exact batch x candidates softmax, both towers and the tables' rows."""
        sizes = world.sizes
        per_example = 3 * sizes.dim * sizes.hidden + 2 * sizes.hidden * sizes.dim
        softmax = sizes.batch * sizes.dim
        distinct = [_distinct(batch) for batch in islice(world.batches(), COUNTED_BATCHES)]
        return cls(
            flops=3.0 * 2.0 * sizes.batch * (per_example + softmax),  # forward, and two backward
            lookups=float(sizes.batch * (sizes.history + 2)),
            distinct=float(np.mean(distinct)),
            row_bytes=4 * sizes.dim,
        )

    def seconds(self, rates: Rates, *, is_bf16: bool) -> dict[str, float]:
        """Return the least time of each part."""
        return {
            "products": self.flops / (rates.bf16_flops if is_bf16 else rates.fp32_flops),
            "rows_read": self.row_bytes * (self.lookups + self.distinct) / rates.read_bytes,
            "rows_written": self.row_bytes * self.distinct / rates.write_bytes,
        }


def measure(world: World) -> Rates:
    """Measure every rate once."""
    sizes = world.sizes
    batch = next(world.batches())
    table = torch.zeros(sizes.items, sizes.dim)
    history = batch["histories"].flatten()
    distinct = torch.from_numpy(np.unique(history.numpy()))
    rows = torch.ones(len(distinct), sizes.dim)
    starts = torch.arange(0, len(history), sizes.history)
    row_bytes = 4 * sizes.dim

    def read() -> None:
        torch.nn.functional.embedding_bag(history, table, starts, mode="sum")

    def write() -> None:
        table.index_copy_(0, distinct, rows)

    return Rates(
        fp32_flops=_flops(sizes, torch.float32),
        bf16_flops=_flops(sizes, torch.bfloat16),
        read_bytes=len(history) * row_bytes / _seconds(read),
        write_bytes=len(distinct) * row_bytes / _seconds(write),
    )


def _flops(sizes: Sizes, dtype: torch.dtype) -> float:
    """Return the best rate of a large square product and of the shapes that a softmax has."""
    rates = []
    for rows, inner, columns in (
        (SQUARE, SQUARE, SQUARE),
        (CHUNK, sizes.dim, sizes.batch),
        (CHUNK, sizes.batch, sizes.dim),
    ):
        left, right = torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype)
        seconds = _seconds(partial(torch.matmul, left, right))
        rates.append(2.0 * rows * inner * columns / seconds)
    return max(rates)


def _seconds(action: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def _distinct(batch: dict[str, torch.Tensor]) -> int:
    items = torch.cat([batch["histories"].flatten(), batch["candidates"]])
    return sum(len(np.unique(ids.numpy())) for ids in (items, batch["users"]))


def main(name: str, address: str, world_path: Path) -> None:
    """Answer every request with rates measured anew."""
    torch.set_num_threads(1)
    world = World(world_path)
    connection = connect(address, name, rank=0)
    while connection.recv():
        connection.send(measure(world))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
