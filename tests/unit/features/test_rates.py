"""Counts as of an interval, and the smoothed rates made of them."""

from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.config import TaskConfig
from features.counting import (
    as_of_lookup,
    coded_counts,
    entity_counts,
    latest_counts,
    rate_table,
    user_counts,
)
from features.encoding import Encoded
from features.rates import RateTable, bucket_of, label_sums, rate_features, smoothed_rates
from features.schema import Feature, RateEntity, Schema

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 6), st.booleans()), max_size=60)
TASKS = (
    TaskConfig(name="click", column="c"),
    TaskConfig(name="watch", column="w", kind="watch_time"),
)


def schema(tasks: tuple[TaskConfig, ...] = TASKS) -> Schema:
    return Schema(
        recommender="toy",
        features=(
            Feature(name="genre", owner="item", kind="categorical", rows=3),
            Feature(name="tags", owner="item", kind="multi", rows=4),
        ),
        entities=(
            RateEntity(name="item", owner="item"),
            RateEntity(name="item.genre", owner="item", feature="genre"),
            RateEntity(name="item.tags", owner="item", feature="tags"),
        ),
        tasks=tasks,
        base_rates=(0.2, 1.5)[: len(tasks)],
        positive="click",
        history_length=1,
        max_values=2,
        interval_ms=1,
        utc_offset_ms=0,
        smoothing=20.0,
        has_time=True,
        vocabularies="",
    )


def table_of(events: list[tuple[int, int, bool]]) -> RateTable:
    counts = pl.DataFrame(
        {
            "code": [code for code, _, _ in events],
            "bucket": [bucket for _, bucket, _ in events],
            "count_0": [1.0] * len(events),
            "count_1": [float(label) for _, _, label in events],
        },
        schema={"code": pl.Int64, "bucket": pl.Int64, "count_0": pl.Float64, "count_1": pl.Float64},
    )
    return rate_table(counts, -3, 10)


@given(EVENTS, st.integers(0, 5), st.integers(-5, 9))
def test_as_of_counts_strictly_earlier_intervals(
    events: list[tuple[int, int, bool]], code: int, bucket: int
) -> None:
    found = table_of(events).as_of(np.asarray([code]), np.asarray([bucket]))
    earlier = [label for c, b, label in events if c == code and b < bucket and c > 0]
    assert found.tolist() == [[len(earlier), sum(earlier)]]


@given(EVENTS)
def test_the_latest_counts_hold_everything(events: list[tuple[int, int, bool]]) -> None:
    latest = table_of(events).latest(6)
    expected = [[sum(c == code and c > 0 for c, _, _ in events)] for code in range(6)]
    assert latest[:, :1].tolist() == expected


@given(EVENTS, st.randoms(use_true_random=False))
def test_tables_do_not_depend_on_the_order_of_events(
    events: list[tuple[int, int, bool]], random: Random
) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    one, other = table_of(events), table_of(shuffled)
    np.testing.assert_array_equal(one.keys, other.keys)
    np.testing.assert_array_equal(one.cumulative, other.cumulative)


def test_saved_tables_open_the_same(tmp_path: Path) -> None:
    table = table_of([(1, 0, True), (2, 3, False)])
    table.save(tmp_path)
    opened = RateTable.open(tmp_path)
    np.testing.assert_array_equal(opened.latest(3), table.latest(3))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.floats(0, 1e5, width=32))))
def test_user_counts_equal_the_definition(rows: list[tuple[int, int, float]]) -> None:
    rows = sorted(rows, key=lambda row: row[:2])
    users = np.asarray([user for user, _, _ in rows], np.int32)
    buckets = np.asarray([bucket for _, bucket, _ in rows], np.int64)
    labels = np.asarray([[watch] for _, _, watch in rows], np.float32).reshape(-1, 1)
    steps = np.column_stack([np.ones(len(rows)), label_sums(labels, ["watch_time"])])
    found = user_counts(users, buckets, steps.astype(np.float64))
    for row, (user, bucket, _) in enumerate(rows):
        earlier = steps[(users == user) & (buckets < bucket)]
        assert found[row].tolist() == np.float32(earlier.astype(np.float64).sum(axis=0)).tolist()


@given(st.lists(st.floats(0, 1e6, width=32), min_size=1), st.randoms(use_true_random=False))
def test_label_sums_add_up_exactly_in_any_order(watch: list[float], random: Random) -> None:
    steps = label_sums(np.asarray(watch, np.float32)[:, None], ["watch_time"])[:, 0]
    order = list(range(len(watch)))
    random.shuffle(order)
    forward = float(np.cumsum(steps.astype(np.float64))[-1])
    assert forward == float(np.cumsum(steps[order].astype(np.float64))[-1])
    np.testing.assert_allclose(steps, np.log1p(np.asarray(watch)), atol=1e-5)


def test_a_missing_label_adds_nothing() -> None:
    labels = np.asarray([[np.nan, np.nan]], np.float32)
    assert label_sums(labels, ["binary", "watch_time"]).tolist() == [[0.0, 0.0]]


def test_no_counts_mean_as_everyone() -> None:
    counts = np.zeros((1, 2, 3), np.float32)
    np.testing.assert_allclose(smoothed_rates(counts, schema()), 0.0, atol=1e-6)
    assert rate_features(counts, schema()).shape == (1, 6)


def test_rates_move_with_evidence() -> None:
    impressions = np.asarray([1.0, 10.0, 100.0, 1000.0])
    counts = np.stack([impressions, impressions * 0.5, impressions], axis=-1)[:, None]
    rates = smoothed_rates(counts.astype(np.float32), schema())[:, 0, 0]
    assert all(low < high for low, high in pairwise(rates))
    assert abs(rates[-1] - (0.0 - np.log(0.2 / 0.8))) < 0.05


def test_buckets_shift_with_the_local_time() -> None:
    instants = np.asarray([0, 15 * 3_600_000, 16 * 3_600_000 - 1, 16 * 3_600_000])
    assert bucket_of(instants, 86_400_000, 8 * 3_600_000).tolist() == [0, 0, 0, 1]


def test_multi_valued_items_have_the_sum_of_their_values() -> None:
    toy = schema(TASKS[:1])
    items = Encoded(
        codes=np.asarray([[0], [1], [2]], np.int32),
        multi=np.asarray([[[0, 0]], [[1, 3]], [[1, 0]]], np.int32),
        numbers=np.zeros((3, 0), np.float32),
    )
    by_row = pl.DataFrame(
        {"row": [1, 2], "bucket": [0, 0], "count_0": [5.0, 3.0], "count_1": [2.0, 1.0]}
    )
    tables = {
        "item": rate_table(by_row.rename({"row": "code"}), 0, 1),
        "item.genre": rate_table(coded_counts(by_row, items.codes[:, 0]), 0, 1),
        "item.tags": rate_table(coded_counts(by_row, items.multi[:, 0]), 0, 1),
    }
    latest = latest_counts(toy, tables, items)
    assert latest[:, :, 0].tolist() == [[0, 0, 0], [5, 5, 13], [3, 3, 8]]
    lookups = {name: as_of_lookup(table, np.asarray([1, 0])) for name, table in tables.items()}
    rows = np.asarray([1, 2])
    as_of = entity_counts(toy, "item", lookups, encoded=items.take(rows), rows=rows)
    assert as_of[:, :, 0].tolist() == [[5, 5, 13], [0, 0, 0]]
