"""What time it is for the models."""

import time
from typing import Literal, Protocol

from features.stores.store import Store

STARTED = "dataset_clock_started_ms"


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
    """The end of the data, and on from there since `started_ms` of the wall clock."""

    def __init__(self, data_end_ms: int, started_ms: int) -> None:
        self._offset_ms = data_end_ms - started_ms
        self._wall = WallClock()

    def now_ms(self) -> int:
        """Return the wall clock's time, shifted."""
        return self._wall.now_ms() + self._offset_ms


def open_clock(kind: Literal["wall", "dataset"], data_end_ms: int, store: Store) -> Clock:
    """Return the configured clock, the same in every process that shares the store."""
    if kind == "wall":
        return WallClock()
    started = store.fact(STARTED)
    if started is None:
        started = str(WallClock().now_ms())
        store.state(STARTED, started)
    return DatasetClock(data_end_ms, int(started))
