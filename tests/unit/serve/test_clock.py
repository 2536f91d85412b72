"""The dataset's clock goes on from the end of the data."""

import time

from features.stores.filled import Filled
from features.stores.memory import MemoryStore
from serve.clock import open_clock


def test_the_wall_clock_tells_the_present() -> None:
    now_ms = open_clock("wall", MemoryStore(), data_end_ms=5).now_ms()
    assert abs(now_ms - 1000 * time.time()) < 1000


def test_the_datasets_clock_counts_from_when_the_store_was_filled() -> None:
    store = MemoryStore()
    wall_ms = int(1000 * time.time()) - 60_000
    Filled("examples", 5_000_000, wall_ms).state(store)
    clock = open_clock("dataset", store, data_end_ms=7)
    assert 5_060_000 <= clock.now_ms() < 5_065_000


def test_a_store_that_was_never_filled_starts_at_the_end_of_the_bundles_data() -> None:
    clock = open_clock("dataset", MemoryStore(), data_end_ms=7_000_000)
    assert 7_000_000 <= clock.now_ms() < 7_005_000


def test_the_datasets_clock_hears_of_newer_data_while_it_is_in_use() -> None:
    store = MemoryStore()
    clock = open_clock("dataset", store, data_end_ms=7_000_000)
    Filled("examples", 9_000_000, time.time_ns() // 1_000_000).state(store)
    assert 9_000_000 <= clock.now_ms() < 9_005_000
