"""What the passes over the events need to know of the configuration."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from features.columns import Column
from features.config import TaskConfig
from features.encoding import hour_codes, weekday_codes
from features.rates import bucket_of
from features.splits import SplitPlan


@dataclass(frozen=True)
class Recipe:
    """Columns, tasks, split and intervals, as settled before the second pass."""

    columns: tuple[Column, ...]
    tasks: tuple[TaskConfig, ...]
    positive: str
    split: SplitPlan
    interval_ms: int
    offset_ms: int
    has_time: bool

    def of(self, owner: str, kind: str) -> list[str]:
        """Return the names of one owner's columns of one kind."""
        return [c.name for c in self.columns if c.owner == owner and c.kind == kind]

    @property
    def positive_index(self) -> int:
        """The positive task's column in the labels."""
        return [task.name for task in self.tasks].index(self.positive)

    def positives(self, labels: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
        """Tell which events retrieval learns from; a missing label is not one."""
        return np.asarray(labels[:, self.positive_index] >= 0.5)

    def buckets(self, timestamps_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the update interval of each event; order-only data has a single one."""
        if not self.has_time:
            return np.zeros(len(timestamps_ms), np.int64)
        return bucket_of(timestamps_ms, self.interval_ms, self.offset_ms)

    def context(self, events: pl.DataFrame) -> pl.DataFrame:
        """Return events with the context that derives from their instant."""
        timestamps = events["timestamp"].to_numpy()
        clock = {
            "hour": hour_codes(timestamps, self.offset_ms) - 1,
            "weekday": weekday_codes(timestamps, self.offset_ms) - 1,
        }
        return events.with_columns(pl.Series(name, values) for name, values in clock.items())
