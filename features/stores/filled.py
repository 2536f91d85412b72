"""What an online store was filled from, and when."""

import json
import time
from dataclasses import asdict, dataclass

from features.stores.store import Store

FACT = "filled"


@dataclass(frozen=True)
class Filled:
    """The prepared data behind a store's records."""

    source: str
    """Identity of the prepared data and of the rules it was filled by."""
    data_end_ms: int
    """The instant of its last event."""
    wall_ms: int
    """When the store was filled."""

    @classmethod
    def just(cls, source: str, data_end_ms: int) -> "Filled":
        """Return the facts of a store that is filled at this moment."""
        return cls(source, data_end_ms, time.time_ns() // 1_000_000)

    @classmethod
    def of(cls, store: Store) -> "Filled | None":
        """Read a store's facts; None while it was never filled, or by another version."""
        values = json.loads(store.fact(FACT) or "{}")
        is_known = values.keys() == cls.__dataclass_fields__.keys()
        return cls(**values) if is_known else None

    def state(self, store: Store) -> None:
        """Write the facts."""
        store.state(FACT, json.dumps(asdict(self)))
