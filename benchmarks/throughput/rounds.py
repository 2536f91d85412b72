"""A worker's side of the rounds: it waits for a number of steps, runs them and says how long."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Client, Connection
from typing import SupportsFloat, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Lap:
    """What one worker measured over some steps; `loss` is the last step's."""

    steps: int
    seconds: float
    cpu_seconds: float
    loss: float


def connect(address: str, name: str, rank: int) -> Connection:
    """Report to the benchmark as worker `rank` of a variant."""
    connection = Client(address, family="AF_UNIX")
    connection.send((name, rank))
    return connection


def timed(
    connection: Connection, batches: Iterator[T], losses: Sequence[SupportsFloat]
) -> Iterator[T]:
    """Yield as many batches as are asked for and report each lap; end when 0 are asked for.

    The clock stops when the consumer asks for one batch more than the lap has: its last step is
    done by then, and `losses[0]` its loss.
    """
    while num_steps := connection.recv():
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        yield from islice(batches, num_steps)
        lap = Lap(
            steps=num_steps,
            seconds=time.perf_counter() - seconds,
            cpu_seconds=time.process_time() - cpu_seconds,
            loss=float(losses[0]),
        )
        connection.send(lap)
