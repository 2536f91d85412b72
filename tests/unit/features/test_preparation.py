"""What a preparation keeps, drops, fits and refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from cluster.errors import ConfigError, InputError
from features.examples import Examples
from tests.in_process import TableAdapter, prepare_here

DAY = 86_400_000
COLUMNS: dict[str, Any] = {"split": {"kind": "column"}, "min_count": 2}


def table(*rows: tuple[str, str, int, bool | None, str], **more: list[Any]) -> pa.Table:
    """Return events of (user, item, day, click, split)."""
    user, item, day, click, split = zip(*rows, strict=True)
    instants = pa.array([d * DAY for d in day], pa.timestamp("ms", "UTC"))
    columns = {"user_id": user, "item_id": item, "timestamp": instants, "split": split}
    return pa.table({**columns, "click": pa.array(click, pa.bool_()), **more})


EVENTS = table(
    ("a", "x", 0, True, "train"),
    ("a", "y", 1, True, "train"),
    ("b", "x", 1, False, "train"),
    ("b", "z", 2, True, "train"),
    ("b", "y", 3, True, "validation"),
    ("a", "z", 4, True, "test"),
    ("c", "x", 5, False, "test"),
)


def event_table(examples: Examples) -> pl.DataFrame:
    return pl.read_parquet(examples.folder.parent / "tables" / "events" / "*.parquet")


def test_exact_duplicates_are_dropped_and_counted(tmp_path: Path) -> None:
    """An event that differs in any column is another event."""
    again = table(("a", "x", 0, True, "train"), ("b", "x", 1, True, "train"))
    examples = prepare_here(tmp_path, TableAdapter([EVENTS, again, again]), COLUMNS)
    facts = examples.manifest["dataset"]
    assert facts["duplicates"] == 3
    assert facts["events"] == event_table(examples).height == EVENTS.num_rows + 1
    assert facts["split"] == {"kind": "column", "train": 5, "validation": 1, "test": 2}


def test_tables_are_in_canonical_order_with_their_split(tmp_path: Path) -> None:
    shuffled = EVENTS.take([6, 3, 0, 5, 1, 4, 2])
    events = event_table(prepare_here(tmp_path, TableAdapter([shuffled]), COLUMNS))
    assert events["timestamp"].dtype == pl.Datetime("ms", "UTC")
    assert events["user_id"].to_list() == ["a"] * 3 + ["b"] * 3 + ["c"]
    assert events.select("user_id", "timestamp").equals(
        events.select("user_id", "timestamp").sort("user_id", "timestamp")
    )


def test_items_with_too_few_events_go_with_their_events(tmp_path: Path) -> None:
    rare = table(("c", "rare", 6, True, "test"))
    items = pa.table({"item_id": ["rare", "silent", "x", "y", "z"]})
    adapter = TableAdapter([EVENTS, rare], items)
    examples = prepare_here(tmp_path, adapter, COLUMNS, dataset={"min_item_events": 2})
    assert examples.catalogue.table["item_id"].to_list() == ["x", "y", "z"]
    assert examples.manifest["dataset"]["events"] == EVENTS.num_rows
    assert examples.manifest["dataset"]["rejected"] == {"events of items with too few events": 1}


def test_the_catalogue_keeps_silent_items_and_adds_unlisted_ones(tmp_path: Path) -> None:
    items = pa.table({"item_id": ["new", "z", "x"], "title": ["New", "Z", "X"]})
    examples = prepare_here(tmp_path, TableAdapter([EVENTS], items), COLUMNS)
    assert examples.catalogue.table["item_id"].to_list() == ["new", "z", "x", "y"]
    assert examples.catalogue.table["title"].to_list() == ["New", "Z", "X", None]
    assert examples.catalogue.train_events.tolist() == [0, 0, 1, 2, 1]
    assert "title" not in [feature.name for feature in examples.schema.features]


def test_users_of_the_table_are_known_without_events(tmp_path: Path) -> None:
    users = pa.table({"user_id": ["silent", "b", "a"], "age": [30, 20, None]})
    examples = prepare_here(tmp_path, TableAdapter([EVENTS], None, users), COLUMNS)
    assert sorted(examples.user_ids.to_list()) == ["a", "b", "c", "silent"]
    by_id = dict(zip(examples.user_ids, examples.user_train_events[1:], strict=True))
    assert by_id == {"a": 2, "b": 2, "c": 0, "silent": 0}
    numbers = dict(zip(examples.user_ids, examples.users.numbers[1:, 0], strict=True))
    assert numbers["a"] == numbers["c"] == 0  # missing
    assert numbers["silent"] > 0


def test_vocabularies_hold_frequent_training_values(tmp_path: Path) -> None:
    items = pa.table({"item_id": ["x", "y", "z"], "kind": ["k", "rare", "k"]})
    examples = prepare_here(tmp_path, TableAdapter([EVENTS], items), COLUMNS)
    assert examples.vocabularies["item.item_id"].values == ["x"]
    assert examples.vocabularies["item.kind"].values == ["k"]
    assert examples.catalogue.encoded.codes.tolist() == [[0, 0], [1, 1], [0, 0], [0, 1]]
    assert examples.vocabularies["context.weekday"].num_rows == 8


def test_base_rates_are_those_of_training(tmp_path: Path) -> None:
    examples = prepare_here(tmp_path, TableAdapter([EVENTS]), COLUMNS)
    assert examples.schema.base_rates == (0.75,)


def test_numbers_are_standardised_over_trained_items(tmp_path: Path) -> None:
    items = pa.table({"item_id": ["x", "y", "z", "silent"], "size": [0.0, 0.0, None, 1e6]})
    adapter = TableAdapter([EVENTS], items)
    size = prepare_here(tmp_path, adapter, COLUMNS).schema.select("item", "numeric")[0]
    assert (size.mean, size.std) == (0.0, 1.0)


def test_publishing_dates_become_milliseconds(tmp_path: Path) -> None:
    dates = pa.array([DAY, None], pa.timestamp("ms", "UTC"))
    items = pa.table({"item_id": ["x", "y"], "published_at": dates})
    examples = prepare_here(tmp_path, TableAdapter([EVENTS], items), COLUMNS)
    assert examples.catalogue.published_ms.tolist() == [-1, DAY, -1, -1]


def test_order_only_data_has_no_rates_and_no_clock(tmp_path: Path) -> None:
    order = EVENTS.drop_columns(["timestamp", "split"]).append_column(
        "timestamp", pa.array([0, 1, 0, 1, 2, 2, 0])
    )
    all_click = order.set_column(order.schema.names.index("click"), "click", [[True] * 7])
    adapter = TableAdapter([all_click], has_time=False)
    examples = prepare_here(tmp_path, adapter, {"split": {"kind": "last_item"}})
    assert examples.schema.entities == ()
    assert examples.schema.select("context", "categorical") == ()
    assert event_table(examples)["timestamp"].dtype == pl.Int64
    shard = examples.shard("test", 0)
    assert shard.timestamp.tolist() == [2, 2]
    assert (shard.history_end - shard.history_begin).tolist() == [2, 2]
    assert shard.item_counts.shape == (2, 0, 2)


def test_a_missing_label_stays_missing(tmp_path: Path) -> None:
    unknown = table(("a", "x", 4, None, "test"))
    shard = prepare_here(tmp_path, TableAdapter([EVENTS, unknown]), COLUMNS).shard("test", 0)
    assert np.isnan(shard.labels).sum() == 1


def test_the_profile_describes_training_impressions(tmp_path: Path) -> None:
    examples = prepare_here(
        tmp_path,
        TableAdapter([EVENTS.append_column("tab", [["1", "1", "1", "2", "1", "2", "3"]])]),
        COLUMNS,
    )
    profile = json.loads((examples.folder / "profile.json").read_text())
    assert profile["sampled"] == 4
    assert profile["labels"]["click"]["mean"] == 0.75
    assert profile["features"]["context.tab"] == {
        "kind": "categorical",
        "unknown": 0.25,
        "values": 1,
        "top": {"1": 0.75},
    }
    assert profile["rates"]["user"]["without_impressions"] == 0.5
    assert profile["history_length"]["1"] == 1.0


def test_the_last_event_ends_the_data(tmp_path: Path) -> None:
    examples = prepare_here(tmp_path, TableAdapter([EVENTS]), COLUMNS)
    assert examples.manifest["data_end_ms"] == 5 * DAY
    assert examples.manifest["fingerprint"] == examples.schema.fingerprint
    assert [path.name for path in examples.folder.parent.glob(".prep*")] == []


def no_clicks(events: pa.Table) -> pa.Table:
    falses = pa.array([False] * events.num_rows)
    return events.set_column(events.schema.names.index("click"), "click", falses)


@pytest.mark.parametrize(
    ("events", "features", "message"),
    [
        (EVENTS.slice(0, 0), COLUMNS, "no events"),
        (no_clicks(EVENTS), COLUMNS, "no positive event in the training split"),
        (EVENTS.slice(0, 5), COLUMNS, "test split is empty"),
        (EVENTS, {"split": {"test": "9d"}}, "train split is empty"),
        (
            EVENTS,
            {**COLUMNS, "rates": {"entities": ["itm"]}},
            "no entity 'itm'; did you mean 'item'",
        ),
        (EVENTS.drop_columns("split"), COLUMNS, "needs an event column 'split'"),
        (EVENTS.drop_columns("click"), COLUMNS, "no event column 'click'"),
    ],
)
def test_what_cannot_be_prepared_is_named(
    events: pa.Table, features: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises((InputError, ConfigError), match=message):
        prepare_here(tmp_path, TableAdapter([events]), features)
    assert list((tmp_path / "toy").glob("*")) == []


def test_a_partition_may_lose_all_its_events(tmp_path: Path) -> None:
    rare = table(*((f"u{i}", f"rare{i}", 1, True, "train") for i in range(50)))
    features = {**COLUMNS, "block_rows": 4}
    examples = prepare_here(
        tmp_path, TableAdapter([EVENTS, rare]), features, dataset={"min_item_events": 2}
    )
    assert examples.num_partitions > 4
    assert examples.manifest["dataset"]["events"] == EVENTS.num_rows
    assert examples.manifest["dataset"]["users"] == 3


def test_no_item_with_enough_events_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no item has 100 events, the most is 3"):
        prepare_here(tmp_path, TableAdapter([EVENTS]), COLUMNS, dataset={"min_item_events": 100})


def test_ids_of_other_types_are_named(tmp_path: Path) -> None:
    items = pa.table({"item_id": [1, 2]})
    with pytest.raises(InputError, match=r"items\.item_id is int64, but events\.item_id is string"):
        prepare_here(tmp_path, TableAdapter([EVENTS], items), COLUMNS)


def test_repeated_and_missing_ids_are_counted(tmp_path: Path) -> None:
    items = pa.table({"item_id": ["x", None, "x"], "kind": ["first", "none", "second"]})
    examples = prepare_here(tmp_path, TableAdapter([EVENTS], items), COLUMNS)
    assert examples.manifest["dataset"]["rejected"] == {"items: id missing or repeated": 2}
    assert examples.catalogue.table["kind"].to_list()[0] == "first"


def test_a_failed_preparation_leaves_the_former_one(tmp_path: Path) -> None:
    prepare_here(tmp_path, TableAdapter([EVENTS]), COLUMNS)
    before = (tmp_path / "toy" / "examples").resolve()
    with pytest.raises(InputError):
        prepare_here(tmp_path, TableAdapter([no_clicks(EVENTS)]), COLUMNS)
    assert (tmp_path / "toy" / "examples").resolve() == before
