"""Events that cannot be used are counted, labels that cannot be are refused."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest

from cluster.errors import ConfigError, InputError
from features.config import TaskConfig
from features.datasets.adapter import Block, Source
from features.datasets.checked import Checked

CLICK = TaskConfig(name="click", column="click")
WATCH = TaskConfig(name="watch", column="watch_time_s", kind="watch_time")


@dataclass
class Given:
    """An adapter over one table, which is its own only source."""

    table: pa.Table
    has_time: bool = False

    @property
    def schema(self) -> pa.Schema:
        """The table's."""
        return self.table.schema

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """One block, with a reason counted by the reader."""
        yield Block(self.table.slice(0, max_rows), {"seen before": 1})

    def sources(self) -> Sequence[Source]:
        """Itself."""
        return [self]

    def items(self) -> pa.Table | None:
        """None."""
        return None

    def users(self) -> pa.Table | None:
        """None."""
        return None

    def identity(self) -> Sequence[tuple[str, int, int]]:
        """No files."""
        return []


def events(**columns: object) -> pa.Table:
    plain = {"user_id": [1, 2, 3], "item_id": ["a", "b", "c"], "timestamp": [0, 1, 2]}
    return pa.table(plain | {"click": [1.0, 0.0, 1.0], "watch_time_s": [0.5, 0.0, 9.0]} | columns)


def checked(table: pa.Table, *tasks: TaskConfig) -> Block:
    (source,) = Checked(Given(table), tasks).sources()
    (block,) = source.blocks(10)
    return block


def test_usable_events_pass_untouched() -> None:
    block = checked(events(), CLICK, WATCH)
    assert block.events.equals(events())
    assert block.rejected == {"seen before": 1}


@pytest.mark.parametrize("column", ["user_id", "item_id", "timestamp"])
def test_events_without_a_key_are_counted_and_left_out(column: str) -> None:
    kept = events()[column].to_pylist()[1:]
    block = checked(events(**{column: [None, *kept]}), CLICK)
    assert block.events[column].to_pylist() == kept
    assert block.rejected[f"{column} missing"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_labels_that_are_not_finite_are_counted_and_left_out(value: float) -> None:
    block = checked(events(watch_time_s=[value, 0.0, 1.0]), CLICK, WATCH)
    assert block.events["user_id"].to_pylist() == [2, 3]
    assert block.rejected["watch_time_s not finite"] == 1


def test_a_null_label_is_missing_and_the_event_stays() -> None:
    block = checked(events(click=[None, 1.0, 0.0], watch_time_s=[None, 1.0, 2.0]), CLICK, WATCH)
    assert block.events.num_rows == 3


def test_negative_watch_times_are_counted_and_left_out() -> None:
    block = checked(events(watch_time_s=[-1.0, 0.0, 1.0]), WATCH)
    assert block.rejected["watch_time_s negative"] == 1
    assert block.events.num_rows == 2


def test_an_event_with_two_faults_is_counted_once() -> None:
    block = checked(events(user_id=[None, 2, 3], click=[float("nan"), 0.0, 1.0]), CLICK)
    assert block.rejected == {"seen before": 1, "user_id missing": 1}


def test_a_binary_label_with_other_values_is_refused() -> None:
    with pytest.raises(InputError, match=r"tasks\.click: .*'click' holds 3\.5"):
        checked(events(click=[3.5, 0.0, 1.0]), CLICK)


def test_a_task_without_its_column_hears_of_the_closest() -> None:
    task = TaskConfig(name="click", column="clicks")
    with pytest.raises(ConfigError, match=r"tasks\.click\.column.*'clicks'.*mean 'click'"):
        Checked(Given(events()), [task])


def test_a_label_must_have_a_fitting_type() -> None:
    with pytest.raises(ConfigError, match="'click' is string, not bool or a number"):
        Checked(Given(events(click=["yes", "no", "no"])), [CLICK])
    with pytest.raises(ConfigError, match="'watch_time_s' is bool, not a number"):
        Checked(Given(events(watch_time_s=[True, False, True])), [WATCH])
