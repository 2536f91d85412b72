"""What time it is for the models."""

import time
from typing import Literal, Protocol

from features.stores.filled import Filled
from features.stores.store import Store


class Clock(Protocol):
    """Tells the instant of a request."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970, UTC."""
        ...


class WallClock:
    """The present."""

    def now_ms(self) -> int:
        """Return the system's time."""
        return time.time_ns() // 1_000_000


class DatasetClock:
    """The end of the data, and on from there since the store was filled with it.

    It does not stop with the service, so that events never come before earlier ones. The store
    is asked each time: it may be filled from newer data while the clock is in use.

    Args:
        store: knows when it was filled from which data.
        unfilled: for a store that never was.
    """

    def __init__(self, store: Store, unfilled: Filled) -> None:
        self._store = store
        self._unfilled = unfilled
        self._wall = WallClock()

    def now_ms(self) -> int:
        """Return the wall clock's time, shifted."""
        filled = Filled.of(self._store) or self._unfilled
        return filled.now_ms(self._wall.now_ms())


class FixedClock:
    """One instant, for answers that are to be of the same one however long they take."""

    def __init__(self, instant_ms: int) -> None:
        self.instant_ms = instant_ms

    def now_ms(self) -> int:
        """Return the instant."""
        return self.instant_ms


def open_clock(kind: Literal["wall", "dataset"], store: Store, *, data_end_ms: int) -> Clock:
    """Return the configured clock.

    Args:
        kind: "dataset" goes on from the end of the data since the store was filled with it, the
            same in every process that shares the store.
        store: knows when that was.
        data_end_ms: where the data of a store that was never filled ends.
    """
    if kind == "wall":
        return WallClock()
    return DatasetClock(store, Filled.just("", data_end_ms))
