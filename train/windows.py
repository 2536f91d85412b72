"""Windows over users' training positives: what one row of a two-tower batch reads and predicts."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.timelines import SPLITS, Timelines

TRAIN = SPLITS.index("train")

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Positives:
    """One partition's training positives, as positions in its timelines.

    Shapes: `positions` (n,) by user and time; user k of the timelines has
    `offsets[k]:offsets[k + 1]` of them; `is_new` (n,) tells a user's first positive of an item.
    """

    timelines: Timelines
    positions: Index
    offsets: Index
    is_new: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, timelines: Timelines) -> "Positives":
        """Pick the events of the training split; others may lie between them."""
        is_train = np.asarray(timelines.split) == TRAIN
        offsets = _offsets_among(is_train, timelines)
        positions = np.flatnonzero(is_train)
        return cls(timelines, positions, offsets, _first_of_pair(timelines, positions, offsets))


@dataclass(frozen=True)
class Windows:
    """Rows to train on: `begin:end` are a window's events, the ones from `first` are targets.

    Shapes: all (n,); indices into the positives of partition `partition`.
    """

    partition: Index
    timeline: Index
    begin: Index
    first: Index
    end: Index

    def __len__(self) -> int:
        return len(self.begin)

    def take(self, index: Index) -> "Windows":
        """Pick windows."""
        names = ("partition", "timeline", "begin", "first", "end")
        return Windows(*(getattr(self, name)[index] for name in names))

    def targets(self) -> Index:
        """Return the indices of all targets, window by window; of windows of one partition."""
        counts = self.end - self.first
        before = np.cumsum(counts) - counts
        index: Index = np.arange(counts.sum()) + np.repeat(self.first - before, counts)
        return index

    @property
    def lengths(self) -> Index:
        """Events of each window."""
        return self.end - self.begin


def cut(partitions: list[Positives], length: int) -> Windows:
    """Cut all timelines into windows of at most `length` history events, from the last backwards.

    A window that does not start its timeline overlaps the one before by a quarter, so that every
    event is a target once, with at least that much history.
    """
    parts = [_cut_one(number, positives, length) for number, positives in enumerate(partitions)]
    columns = zip(*parts, strict=True)
    return Windows(*(np.concatenate(column) for column in columns))


def count(timelines: Iterable[Timelines], length: int) -> int:
    """Return how many windows `cut` makes of the timelines, without making them."""
    total = 0
    for part in timelines:
        offsets = _offsets_among(np.asarray(part.split) == TRAIN, part)
        total += int(_num_windows(np.diff(offsets), length).sum())
    return total


def _offsets_among(is_train: npt.NDArray[np.bool_], timelines: Timelines) -> Index:
    """Return where each user's training positives begin among all of them."""
    before = np.concatenate([[0], np.cumsum(is_train)])
    offsets: Index = before[timelines.offsets]
    return offsets


def _num_windows(sizes: Index, length: int) -> Index:
    """Return the windows of timelines with so many positives."""
    stride = length + 1 - length // 4
    return np.where(sizes > 0, 1 + np.maximum(sizes - length - 1 + stride - 1, 0) // stride, 0)


def _cut_one(number: int, positives: Positives, length: int) -> tuple[Index, ...]:
    overlap = length // 4
    stride = length + 1 - overlap
    starts, ends = positives.offsets[:-1], positives.offsets[1:]
    num_windows = _num_windows(ends - starts, length)
    timeline = np.repeat(np.arange(len(starts)), num_windows)
    back = np.arange(len(timeline)) - np.repeat(np.cumsum(num_windows) - num_windows, num_windows)
    start = starts[timeline]
    end = ends[timeline] - back * stride
    begin = np.maximum(end - length - 1, start)
    is_oldest = back == num_windows[timeline] - 1
    first = np.where(is_oldest, start, begin + overlap)
    return np.full(len(timeline), number), timeline, begin, first, end


def _first_of_pair(timelines: Timelines, positions: Index, offsets: Index) -> npt.NDArray[np.bool_]:
    users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    items = timelines.items[positions]
    order = np.lexsort((items, users))
    repeats = (np.diff(users[order]) == 0) & (np.diff(items[order]) == 0)
    is_new = np.ones(len(positions), np.bool_)
    is_new[order[1:][repeats]] = False
    return is_new
