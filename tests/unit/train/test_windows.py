"""Windows: every training positive is a target once, with the history it may have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.timelines import SPLITS, Timelines
from train.windows import Positives, count, cut


def timelines_of(sizes: list[int], *, every_third_is_test: bool = False) -> Timelines:
    n = sum(sizes)
    split = np.zeros(n, np.uint8)
    if every_third_is_test:
        split[2::3] = SPLITS.index("test")
    return Timelines(
        users=np.arange(1, len(sizes) + 1, dtype=np.int32),
        offsets=np.cumsum([0, *sizes]).astype(np.int64),
        items=(np.arange(n) % 5 + 1).astype(np.int32),
        timestamps=np.arange(n, dtype=np.int64) * 1000,
        context_codes=np.zeros((n, 1), np.int32),
        context_numbers=np.zeros((n, 0), np.float32),
        split=split,
    )


@given(
    partitions=st.lists(st.lists(st.integers(0, 40), max_size=6), min_size=1, max_size=3),
    length=st.integers(1, 12),
)
@settings(max_examples=80, deadline=None)
def test_every_event_is_a_target_once(partitions: list[list[int]], length: int) -> None:
    timelines = [timelines_of(sizes) for sizes in partitions]
    windows = cut([Positives.of(part) for part in timelines], length)
    assert len(windows) == count(timelines, length)
    for number, sizes in enumerate(partitions):
        counts = np.zeros(sum(sizes), np.int64)
        for k in np.flatnonzero(windows.partition == number):
            counts[windows.first[k] : windows.end[k]] += 1
        assert (counts == 1).all()


@given(sizes=st.lists(st.integers(0, 60), min_size=1, max_size=5), length=st.integers(1, 12))
@settings(max_examples=80, deadline=None)
def test_a_window_stays_in_its_timeline_and_within_the_history(
    sizes: list[int], length: int
) -> None:
    positives = Positives.of(timelines_of(sizes))
    windows = cut([positives], length)
    starts, ends = positives.offsets[windows.timeline], positives.offsets[windows.timeline + 1]
    assert (windows.begin >= starts).all()
    assert (windows.end <= ends).all()
    assert (windows.lengths <= length + 1).all()
    reach = np.minimum(windows.first - starts, length // 4)
    assert (windows.first - windows.begin >= reach).all()


def test_a_short_timeline_is_one_window() -> None:
    windows = cut([Positives.of(timelines_of([5, 0, 9]))], 8)
    np.testing.assert_array_equal(windows.timeline, [0, 2])
    np.testing.assert_array_equal(windows.begin, [0, 5])
    np.testing.assert_array_equal(windows.first, windows.begin)
    np.testing.assert_array_equal(windows.end, [5, 14])


def test_other_splits_between_training_events_are_left_out() -> None:
    positives = Positives.of(timelines_of([7, 4], every_third_is_test=True))
    np.testing.assert_array_equal(positives.positions, [0, 1, 3, 4, 6, 7, 9, 10])
    np.testing.assert_array_equal(positives.offsets, [0, 5, 8])


def test_the_first_positive_of_an_item_is_new() -> None:
    positives = Positives.of(timelines_of([7, 3]))
    np.testing.assert_array_equal(positives.is_new, [True] * 5 + [False] * 2 + [True] * 3)


@pytest.mark.parametrize("sizes", [[], [0, 0]])
def test_no_events_give_no_windows(sizes: list[int]) -> None:
    assert len(cut([Positives.of(timelines_of(sizes))], 8)) == 0
