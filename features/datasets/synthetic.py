"""The synthetic world as a data set; its hidden preferences stay behind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from features.config import DatasetConfig
from features.datasets.adapter import Block, Source
from features.world import EVENTS, World

SOURCE_EVENTS = 1_000_000


class Synthetic:
    """Generates `dataset.users`, `dataset.items` and about `dataset.events` from `dataset.seed`."""

    has_time = True
    schema = EVENTS

    def __init__(self, config: DatasetConfig) -> None:
        self.sizes = (config.users, config.items, config.events, config.seed)

    def sources(self) -> Sequence[Source]:
        """Return ranges of user chunks with about SOURCE_EVENTS events each."""
        world = World(*self.sizes)
        step = max(1, world.num_chunks * SOURCE_EVENTS // world.num_events)
        starts = range(0, world.num_chunks, step)
        return [Chunks(world, s, min(s + step, world.num_chunks)) for s in starts]

    def items(self) -> pa.Table | None:
        """Return the catalogue."""
        return World(*self.sizes).items.table()

    def users(self) -> pa.Table | None:
        """Return what is known of the users."""
        world = World(*self.sizes)
        return pa.concat_tables([world.users(chunk).table() for chunk in range(world.num_chunks)])

    def identity(self) -> Sequence[tuple[str, int, int]]:
        """Return nothing: the config says everything."""
        return []


@dataclass(frozen=True)
class Chunks:
    """Consecutive user chunks of a world."""

    world: World
    begin: int
    end: int

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Yield each chunk's events."""
        for chunk in range(self.begin, self.end):
            events = self.world.events(chunk)
            for first in range(0, events.num_rows, max_rows):
                yield Block(events.slice(first, max_rows), {})
