"""A cache keeps within its bounds and lets the least recently used go first."""

import threading
from collections import Counter

import numpy as np
import pytest

from serve.caches.cache import ENTRY_BYTES, Cache, Limits


class Notes:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.size = (0, 0)
        self._lock = threading.Lock()

    def count_cache(self, cache: str, outcome: str) -> None:
        """Count."""
        assert cache == "toy"
        with self._lock:
            self.counts[outcome] += 1

    def observe_cache(self, cache: str, num_entries: int, num_bytes: int) -> None:
        """Remember the size."""
        assert cache == "toy"
        self.size = (num_entries, num_bytes)


@pytest.fixture
def notes() -> Notes:
    return Notes()


def cache(notes: Notes, **limits: float) -> Cache[int]:
    known = {"max_entries": 1000, "max_bytes": 1e9, **limits}
    return Cache("toy", Limits(**known), notes)  # type: ignore[arg-type]


def test_what_was_put_is_found_and_counted(notes: Notes) -> None:
    made = cache(notes)
    assert made.get(b"a") is None
    made.put(b"a", 1, 10)
    made.put(b"a", 2, 20)
    assert made.get(b"a") == 2
    assert notes.counts == {"miss": 1, "hit": 1}
    assert notes.size == (len(made), made.num_bytes) == (1, 20 + ENTRY_BYTES)


def test_the_least_recently_used_go_first(notes: Notes) -> None:
    made = cache(notes, max_entries=2)
    made.put(b"a", 1, 10)
    made.put(b"b", 2, 10)
    made.get(b"a")
    made.put(b"c", 3, 10)
    assert [made.get(key) for key in (b"a", b"b", b"c")] == [1, None, 3]
    assert notes.counts["eviction"] == 1


def test_bytes_are_bounded(notes: Notes) -> None:
    made = cache(notes, max_bytes=3 * (100 + ENTRY_BYTES))
    for number in range(5):
        made.put(bytes([number]), number, 100)
    assert [made.get(bytes([number])) for number in range(5)] == [None, None, 2, 3, 4]
    made.put(b"large", 5, 200)
    assert (len(made), made.num_bytes) == (2, 300 + 2 * ENTRY_BYTES)
    made.put(b"too large", 6, 3 * (100 + ENTRY_BYTES))
    assert made.get(b"too large") is None
    assert len(made) == 2


def test_old_entries_are_not_found(notes: Notes) -> None:
    instant = [0.0]
    made: Cache[int] = Cache("toy", Limits(9, 9999, 2.0), notes, clock=lambda: instant[0])
    made.put(b"a", 1, 10)
    instant[0] = 1.9
    assert made.get(b"a") == 1
    instant[0] = 2.0
    assert made.get(b"a") is None
    assert (len(made), made.num_bytes) == (0, 0)


def test_old_entries_make_room_before_the_cache_is_full(notes: Notes) -> None:
    instant = [0.0]
    made: Cache[int] = Cache("toy", Limits(999, 10**6, 2.0), notes, clock=lambda: instant[0])
    for number in range(40):
        instant[0] = number / 4
        made.put(bytes([number]), number, 10)
        made.get(bytes([max(number - 4, 0)]))
        assert len(made) <= 16
    assert made.get(bytes([39])) == 39
    assert notes.counts["eviction"] == 0


def test_threads_share_it_without_losing_count(notes: Notes) -> None:
    made = cache(notes, max_entries=20, max_bytes=15 * (50 + ENTRY_BYTES))

    def use(seed: int) -> None:
        random = np.random.default_rng(seed)
        for number in random.integers(0, 40, 2000).tolist():
            found = made.get(bytes([number]))
            assert found in (None, number)
            if found is None:
                made.put(bytes([number]), number, int(random.integers(0, 100)))

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notes.counts["hit"] + notes.counts["miss"] == 8000
    assert made.num_bytes == sum(entry.num_bytes for entry in made._entries.values())
    assert made.num_bytes <= made.limits.max_bytes
    assert 0 < len(made) <= 20
