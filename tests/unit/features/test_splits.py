"""Which events train, which validate and which test."""

from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ConfigError, InputError
from features.config import SplitConfig
from features.splits import (
    TEST,
    TRAIN,
    VALIDATION,
    SplitPlan,
    assign_splits,
    check_sizes,
    check_split,
    plan_split,
)

DAY = 86_400_000
HOUR = 3_600_000


def milliseconds(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


def test_whole_days_are_cut_at_local_midnights() -> None:
    last = milliseconds(2022, 5, 6, 15, 59)  # 23:59 at UTC+8
    config = SplitConfig(kind="time", validation=DAY, test=2 * DAY)
    plan = plan_split(config, last_ms=last, offset_ms=8 * HOUR)
    assert plan.test_from == milliseconds(2022, 5, 4, 16)  # 05-05 00:00 at UTC+8
    assert plan.validation_from == milliseconds(2022, 5, 3, 16)


def test_other_durations_count_back_from_the_last_event() -> None:
    config = SplitConfig(kind="time", validation=HOUR, test=90_000)
    plan = plan_split(config, last_ms=1_000_000_000, offset_ms=0)
    assert plan.test_from == 1_000_000_001 - 90_000
    assert plan.validation_from == plan.test_from - HOUR


@given(st.lists(st.integers(0, 100), min_size=1))
def test_time_splits_follow_the_cuts(timestamps: list[int]) -> None:
    events = pl.DataFrame({"timestamp": timestamps})
    split = assign_splits(SplitPlan("time", 30, 60), events, np.zeros(len(timestamps), bool))
    expected = [TRAIN if t < 30 else VALIDATION if t < 60 else TEST for t in timestamps]
    assert split.tolist() == expected


def test_last_item_holds_out_the_two_last_positives_with_what_follows_them() -> None:
    events = pl.DataFrame({"user_id": ["a"] * 7})
    positive = np.asarray([1, 0, 1, 0, 1, 0, 0], bool)
    split = assign_splits(SplitPlan("last_item"), events, positive)
    assert split.tolist() == [TRAIN, TRAIN, VALIDATION, VALIDATION, TEST, TEST, TEST]


def test_last_item_only_trains_on_users_with_two_positives() -> None:
    events = pl.DataFrame({"user_id": ["a", "a", "b", "b", "b"]})
    split = assign_splits(SplitPlan("last_item"), events, np.ones(5, bool))
    assert split.tolist() == [TRAIN, TRAIN, TRAIN, VALIDATION, TEST]


def test_a_column_names_the_splits() -> None:
    events = pl.DataFrame({"split": ["test", "train", "validation"]})
    assert assign_splits(SplitPlan("column"), events, np.ones(3, bool)).tolist() == [2, 0, 1]


def test_another_word_in_the_column_is_named() -> None:
    events = pl.DataFrame({"split": ["train", "tset"]})
    with pytest.raises(InputError, match=r"'tset' is none of train, validation, test"):
        assign_splits(SplitPlan("column"), events, np.ones(2, bool))


def test_an_empty_split_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="test split is empty"):
        check_sizes({"train": 3, "validation": 1, "test": 0}, SplitPlan("time", 1, 2))


def test_order_only_data_has_no_time_split() -> None:
    with pytest.raises(ConfigError, match="order-only"):
        check_split(SplitConfig(kind="time"), ["user_id"], has_time=False)


def test_a_column_split_needs_its_column() -> None:
    with pytest.raises(ConfigError, match="event column 'split'"):
        check_split(SplitConfig(kind="column"), ["user_id"], has_time=True)
