"""A bounded cache: the least recently used entries go first."""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

ENTRY_BYTES = 400
"""What an entry takes beside its value: its key, its place and its bookkeeping."""

V = TypeVar("V")


class Observer(Protocol):
    """Hears what caches do."""

    def count_cache(self, cache: str, outcome: str) -> None:
        """Count a "hit", a "miss" or an "eviction"."""
        ...

    def observe_cache(self, cache: str, num_entries: int, num_bytes: int) -> None:
        """Hear how large a cache is."""
        ...


@dataclass(frozen=True)
class Limits:
    """What a cache may hold, and for how long."""

    max_entries: int
    max_bytes: int
    max_age_s: float = math.inf


@dataclass(frozen=True)
class Entry(Generic[V]):
    """A value and what is known of it."""

    value: V
    num_bytes: int
    expires_s: float


class Cache(Generic[V]):
    """Values by keys that name everything they depend on; safe to use from several threads.

    Nothing is ever invalidated: what has changed has another key, and its old entry ages or is
    evicted.

    Args:
        name: as it is counted.
        limits: the entries used last are kept within them.
        observer: hears of hits, misses and evictions.
        clock: seconds, never falling.
    """

    def __init__(
        self,
        name: str,
        limits: Limits,
        observer: Observer,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.limits = limits
        self.observer = observer
        self.num_bytes = 0
        self._clock = clock
        self._entries: OrderedDict[bytes, Entry[V]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> V | None:
        """Return a value that is not too old; None where there is none."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and self._clock() >= entry.expires_s:
                self._drop(key)
                entry = None
            if entry is not None:
                self._entries.move_to_end(key)
        self.observer.count_cache(self.name, "miss" if entry is None else "hit")
        return None if entry is None else entry.value

    def put(self, key: bytes, value: V, num_bytes: int) -> None:
        """Keep a value of so many bytes, unless it is larger than all that may be kept."""
        num_bytes += ENTRY_BYTES
        if num_bytes > self.limits.max_bytes:
            return
        with self._lock:
            if key in self._entries:
                self._drop(key)
            now_s = self._clock()
            self._forget_old(now_s)
            self._entries[key] = Entry(value, num_bytes, now_s + self.limits.max_age_s)
            self.num_bytes += num_bytes
            num_evicted = self._evict()
            size = len(self._entries), self.num_bytes
        for _ in range(num_evicted):
            self.observer.count_cache(self.name, "eviction")
        self.observer.observe_cache(self.name, *size)

    def _forget_old(self, now_s: float) -> None:
        """Drop old entries, so that a cache is no larger than its maximal age makes it.

        One that lies behind a younger one, as it was used since, goes when that has become old.
        """
        while self._entries:
            key, entry = next(iter(self._entries.items()))
            if entry.expires_s > now_s:
                return
            self._drop(key)

    def _evict(self) -> int:
        """Drop the entries that were used longest ago until the rest fits; return how many."""
        num_evicted = 0
        while len(self._entries) > self.limits.max_entries or (
            self.num_bytes > self.limits.max_bytes
        ):
            self._drop(next(iter(self._entries)))
            num_evicted += 1
        return num_evicted

    def _drop(self, key: bytes) -> None:
        self.num_bytes -= self._entries.pop(key).num_bytes
