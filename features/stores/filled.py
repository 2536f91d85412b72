"""What an online store was filled from, and when."""

import json
import time
from dataclasses import asdict, dataclass, replace

from features.stores.store import Store

FACT = "filled"


@dataclass(frozen=True)
class Filled:
    """The prepared data behind a store's records."""

    source: str
    """Identity of the prepared data and of the rules it was filled by; empty while other data is
    being filled in."""
    data_end_ms: int
    """An instant of the data's own time: that of its last event,"""
    wall_ms: int
    """as of which it was that time on the wall clock."""

    @classmethod
    def just(cls, source: str, data_end_ms: int, before: "Filled | None" = None) -> "Filled":
        """Return the facts of a store that is filled at this moment.

        Args:
            source: the identity.
            data_end_ms: the instant of the data's last event.
            before: what the store was filled from before; the data's time goes on from there
                unless the new data is ahead of it, and never back.
        """
        wall_ms = time.time_ns() // 1_000_000
        if before is not None and before.now_ms(wall_ms) >= data_end_ms:
            return replace(before, source=source)
        return cls(source, data_end_ms, wall_ms)

    def now_ms(self, wall_ms: int) -> int:
        """Return the data's own time at an instant of the wall clock."""
        return self.data_end_ms + wall_ms - self.wall_ms

    def unfinished(self) -> "Filled":
        """Return the facts of a store that is being filled from something else."""
        return replace(self, source="")

    @classmethod
    def of(cls, store: Store) -> "Filled | None":
        """Read a store's facts; None while it was never filled, or by another version."""
        values = json.loads(store.fact(FACT) or "{}")
        is_known = values.keys() == cls.__dataclass_fields__.keys()
        return cls(**values) if is_known else None

    def state(self, store: Store) -> None:
        """Write the facts."""
        store.state(FACT, json.dumps(asdict(self)))
