"""The events of a batch of windows as padded arrays."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from train.windows import Index, Positives, Windows


@dataclass(frozen=True)
class WindowEvents:
    """Events in order, windows x events, padded at the end with item 0.

    Shapes: `users` (windows,); `items`, `timestamps`, `is_real`, `is_target`, `is_new`
    (windows, events); `context_codes`, `context_numbers` (windows, events, columns).
    """

    users: npt.NDArray[np.int32]
    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    is_real: npt.NDArray[np.bool_]
    is_target: npt.NDArray[np.bool_]
    is_new: npt.NDArray[np.bool_]
    context_codes: npt.NDArray[np.int32]
    context_numbers: npt.NDArray[np.float32]

    @classmethod
    def gather(cls, windows: Windows, partitions: list[Positives]) -> "WindowEvents":
        """Read windows from the memory-mapped timelines, partition by partition."""
        events = cls._empty(windows, partitions)
        for partition in np.unique(windows.partition):
            which = np.flatnonzero(windows.partition == partition)
            events._fill(which, windows.take(which), partitions[partition])
        return events

    @property
    def num_earlier(self) -> Index:
        """Events of the window strictly before each event's instant (windows, events)."""
        columns = np.arange(self.timestamps.shape[1])
        is_later = np.diff(self.timestamps, axis=1, prepend=self.timestamps[:, :1] - 1) > 0
        return np.maximum.accumulate(np.where(is_later, columns, 0), axis=1)

    @classmethod
    def _empty(cls, windows: Windows, partitions: list[Positives]) -> "WindowEvents":
        shape = (len(windows), int(windows.lengths.max()))
        timelines = partitions[0].timelines
        return cls(
            users=np.zeros(len(windows), np.int32),
            items=np.zeros(shape, np.int32),
            timestamps=np.zeros(shape, np.int64),
            is_real=np.zeros(shape, np.bool_),
            is_target=np.zeros(shape, np.bool_),
            is_new=np.zeros(shape, np.bool_),
            context_codes=np.zeros((*shape, timelines.context_codes.shape[1]), np.int32),
            context_numbers=np.zeros((*shape, timelines.context_numbers.shape[1]), np.float32),
        )

    def _fill(self, which: Index, windows: Windows, positives: Positives) -> None:
        timelines = positives.timelines
        index = windows.begin[:, None] + np.arange(self.items.shape[1])
        is_real = index < windows.end[:, None]
        index = np.where(is_real, index, windows.begin[:, None])
        positions = positives.positions[index]
        self.users[which] = timelines.users[windows.timeline]
        self.items[which] = np.where(is_real, timelines.items[positions], 0)
        self.timestamps[which] = timelines.timestamps[positions]
        self.is_real[which] = is_real
        self.is_target[which] = is_real & (index >= windows.first[:, None])
        self.is_new[which] = positives.is_new[index]
        self.context_codes[which] = timelines.context_codes[positions]
        self.context_numbers[which] = timelines.context_numbers[positions]
