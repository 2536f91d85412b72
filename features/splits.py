"""Which events train, which validate and which test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from cluster.errors import ConfigError, InputError
from features.config import SplitConfig
from features.encoding import DAY_MS
from features.timelines import SPLITS

TRAIN, VALIDATION, TEST = range(len(SPLITS))
COLUMN = "split"
MIN_POSITIVES = 3
"""Users with fewer positives only train under "last_item"."""


@dataclass(frozen=True)
class SplitPlan:
    """A split whose cuts are instants.

    `validation_from` and `test_from` are the first milliseconds of their splits (kind "time").
    """

    kind: Literal["time", "last_item", "column"]
    validation_from: int | None = None
    test_from: int | None = None

    def facts(self) -> dict[str, Any]:
        """Return what the report says about the split."""
        cuts = {"validation_from_ms": self.validation_from, "test_from_ms": self.test_from}
        return {"kind": self.kind, **({k: v for k, v in cuts.items() if v is not None})}


def check_split(config: SplitConfig, columns: Sequence[str], *, has_time: bool) -> None:
    """Refuse a split that the events do not allow.

    Raises:
        ConfigError: a time split of data without times, or no column to split by.
    """
    if config.kind == "time" and not has_time:
        raise ConfigError("features.split.kind: 'time' needs timestamps, the data is order-only")
    if config.kind == "column" and COLUMN not in columns:
        raise ConfigError(f"features.split.kind: 'column' needs an event column {COLUMN!r}")


def plan_split(config: SplitConfig, *, last_ms: int, offset_ms: int) -> SplitPlan:
    """Place the cuts.

    Durations of whole days count back from the end of the last event's local day, so that cuts
    fall on local midnights; other durations count back from the last event itself.
    """
    if config.kind != "time":
        return SplitPlan(config.kind)
    end = last_ms + 1
    if config.test % DAY_MS == 0 and config.validation % DAY_MS == 0:
        end = ((last_ms + offset_ms) // DAY_MS + 1) * DAY_MS - offset_ms
    test_from = end - config.test
    return SplitPlan("time", test_from - config.validation, test_from)


def assign_splits(
    plan: SplitPlan, events: pl.DataFrame, is_positive: npt.NDArray[np.bool_]
) -> npt.NDArray[np.uint8]:
    """Return the index into SPLITS of events (n,) sorted by user and time.

    "last_item" takes each user's last positive event, and what follows it, for testing, and the
    last but one, with what lies between the two, for validation.

    Raises:
        InputError: a `split` column holds another word.
    """
    if plan.kind == "time":
        timestamps = events["timestamp"].to_numpy()
        cuts = np.asarray([plan.validation_from, plan.test_from])
        return np.searchsorted(cuts, timestamps, side="right").astype(np.uint8)
    if plan.kind == "last_item":
        return _last_items(events, is_positive)
    return _from_column(events)


def check_sizes(counts: dict[str, int], plan: SplitPlan) -> None:
    """Refuse a split that is left empty.

    Raises:
        InputError: names the split.
    """
    for name in SPLITS:
        if not counts[name]:
            sizes = ", ".join(f"{split} {count:,}" for split, count in counts.items())
            raise InputError(f"features.split: {name} split is empty: {plan.kind} gives {sizes}")


def _last_items(events: pl.DataFrame, is_positive: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    ordered = events.select("user_id", positive=pl.Series(is_positive))
    so_far = pl.col("positive").cast(pl.Int64).cum_sum().over("user_id")
    total = pl.col("positive").cast(pl.Int64).sum().over("user_id")
    after = ordered.select(total - so_far, total.alias("total"))
    remaining, totals = after["positive"].to_numpy(), after["total"].to_numpy()
    split = np.where(remaining == 0, TEST, np.where(remaining == 1, VALIDATION, TRAIN))
    return np.where(totals < MIN_POSITIVES, TRAIN, split).astype(np.uint8)


def _from_column(events: pl.DataFrame) -> npt.NDArray[np.uint8]:
    words = events[COLUMN].cast(pl.String)
    codes = words.replace_strict(list(SPLITS), list(range(len(SPLITS))), default=None)
    if codes.null_count():
        odd = words.filter(codes.is_null())[0]
        raise InputError(f"events.split: {odd!r} is none of {', '.join(SPLITS)}")
    return codes.cast(pl.UInt8).to_numpy()
