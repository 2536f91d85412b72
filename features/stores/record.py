"""A user's record: attributes, positive history and counts; knows no rule of how they change."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgpack


@dataclass(frozen=True)
class UserEvent:
    """One event of a user: an item, an instant, and labels by task name (absent = unknown).

    Its id, if it has one, tells that it is the same event when it comes again.
    """

    item_id: str
    timestamp_ms: int
    labels: dict[str, float]
    event_id: str | None = None


@dataclass
class Record:
    """What the store holds of one user.

    Counts are impressions and one label sum per task: `totals` from every update interval before
    `bucket`, `pending` from `bucket` itself, so that a request in that interval does not see it.
    """

    layout: str
    """Identity of what the counts mean; a record of another layout is rebuilt."""
    attributes: dict[str, Any] = field(default_factory=dict)
    item_ids: list[str] = field(default_factory=list)
    """Canonical ids of positive items, oldest first."""
    item_ms: list[int] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)
    bucket: int = 0
    recent: list[UserEvent] = field(default_factory=list)
    """The newest live events, to recognise duplicates and to survive a refill."""
    filled: str | None = None
    """The prepared data that it was filled from; None for a user known from live events only."""

    def copy(self) -> "Record":
        """Return a record that shares nothing that changes."""
        return replace(
            self,
            item_ids=list(self.item_ids),
            item_ms=list(self.item_ms),
            totals=list(self.totals),
            pending=list(self.pending),
            recent=[replace(event, labels=dict(event.labels)) for event in self.recent],
        )

    def pack(self) -> bytes:
        """Serialise to MessagePack."""
        recent = [[e.item_id, e.timestamp_ms, e.labels, e.event_id] for e in self.recent]
        values = [self.layout, self.attributes, self.item_ids, self.item_ms]
        counts = [self.totals, self.pending, self.bucket]
        packed: bytes = msgpack.packb([*values, *counts, recent, self.filled])
        return packed

    @classmethod
    def unpack(cls, packed: bytes) -> "Record":
        """Read what `pack` wrote."""
        values: list[Any] = msgpack.unpackb(packed)
        values[-2] = [UserEvent(*event) for event in values[-2]]
        return cls(*values)
