"""Histories are slices of timelines, strictly before their example."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from features.encoding import Encoded
from features.sharding import Events, histories
from features.timelines import SPLITS, Timelines

ROWS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 6), st.sampled_from([0, 0, 1, 2]), st.booleans()),
    max_size=40,
)
Row = tuple[int, int, int, bool]


def events_of(rows: list[Row]) -> tuple[Events, np.ndarray]:
    """Return events by user and time; item rows count through."""
    rows = sorted(rows, key=lambda row: row[:2])
    user, timestamp, split, positive = (
        np.asarray([row[i] for row in rows], np.int64) for i in range(4)
    )
    n = len(rows)
    context = Encoded(
        np.arange(n, dtype=np.int32)[:, None],
        np.zeros((n, 0, 1), np.int32),
        np.zeros((n, 0), np.float32),
    )
    events = Events(
        user=user.astype(np.int32),
        item=np.arange(1, n + 1, dtype=np.int32),
        timestamp=timestamp,
        bucket=timestamp,
        split=split.astype(np.uint8),
        labels=positive.astype(np.float32)[:, None],
        context=context,
    )
    return events, positive.astype(bool)


@given(ROWS)
def test_histories_hold_strictly_earlier_positives(rows: list[Row]) -> None:
    """Those of the own split and the ones before it, by split and time, without a gap."""
    events, positive = events_of(rows)
    timelines, begin, end = histories(events, positive)
    for i in range(len(rows)):
        same = positive & (events.user == events.user[i])
        found = timelines.items[begin[i] : end[i]].tolist()
        earlier = same & (events.timestamp < events.timestamp[i])
        expected: list[int] = []
        for split in range(int(events.split[i]) + 1):
            expected += events.item[earlier & (events.split == split)].tolist()
            if (same & ~earlier & (events.split == split)).any():
                break
        assert found == expected


@given(ROWS)
def test_in_time_order_a_history_is_everything_earlier(rows: list[Row]) -> None:
    in_order = [
        (user, time, int(np.searchsorted([3, 5], time, side="right")), positive)
        for user, time, _, positive in rows
    ]
    events, positive = events_of(in_order)
    timelines, begin, end = histories(events, positive)
    for i in range(len(rows)):
        earlier = positive & (events.user == events.user[i])
        earlier &= events.timestamp < events.timestamp[i]
        assert timelines.items[begin[i] : end[i]].tolist() == events.item[earlier].tolist()


@given(ROWS)
def test_timelines_belong_to_their_users(rows: list[Row]) -> None:
    events, positive = events_of(rows)
    timelines, _, _ = histories(events, positive)
    assert timelines.users.tolist() == sorted(set(events.user[positive].tolist()))
    assert timelines.offsets[-1] == len(timelines.items) == positive.sum()
    for k, user in enumerate(timelines.users):
        span = slice(timelines.offsets[k], timelines.offsets[k + 1])
        assert (events.user[timelines.items[span] - 1] == user).all()
        assert (timelines.context_codes[span, 0] == timelines.items[span] - 1).all()
        assert sorted(timelines.split[span]) == timelines.split[span].tolist()


def test_long_histories_keep_the_newest_and_short_ones_are_padded(tmp_path: Path) -> None:
    none = np.zeros((5, 0))
    timelines = Timelines(
        users=np.asarray([1], np.int32),
        offsets=np.asarray([0, 5]),
        items=np.arange(11, 16, dtype=np.int32),
        timestamps=np.arange(5),
        context_codes=none.astype(np.int32),
        context_numbers=none.astype(np.float32),
        split=np.zeros(5, np.uint8),
    )
    timelines.save(tmp_path)
    opened = Timelines.open(tmp_path)
    items, instants = opened.histories(np.asarray([0, 0, 5]), np.asarray([5, 2, 5]), 3)
    assert items.tolist() == [[13, 14, 15], [11, 12, 0], [0, 0, 0]]
    assert instants.tolist() == [[2, 3, 4], [0, 1, 0], [0, 0, 0]]
    assert len(SPLITS) == 3
