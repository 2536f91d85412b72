"""What a data set must offer: events in independent streams, items and users as tables."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import pyarrow as pa


class Block(NamedTuple):
    """Consecutive events and how many of them were left out, by reason."""

    events: pa.Table
    rejected: dict[str, int]


class Source(Protocol):
    """One independent part of the events: picklable, read as a stream in bounded memory."""

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Yield the events in their stored order, at most `max_rows` in a block."""
        ...


class Adapter(Protocol):
    """A data set as canonical tables.

    `events` has `user_id`, `item_id` (string or int64), `timestamp` (timestamp[ms, UTC], or int64
    for order-only data), labels (bool or number) and context (string, or number) columns.
    `items` and `users` have their id first and attributes after it: string, list<string>, number.
    """

    @property
    def has_time(self) -> bool:
        """False where `timestamp` only orders a user's events."""
        ...

    @property
    def schema(self) -> pa.Schema:
        """The columns of the events, the same in every block."""
        ...

    def sources(self) -> Sequence[Source]:
        """Return the parts of the events, in an order that is always the same."""
        ...

    def items(self) -> pa.Table | None:
        """Return the catalogue; None where there is none."""
        ...

    def users(self) -> pa.Table | None:
        """Return what is known of the users; None where there is nothing."""
        ...

    def identity(self) -> Sequence[tuple[str, int, int]]:
        """Return name, size and modification time of every file read: what a cache depends on."""
        ...
