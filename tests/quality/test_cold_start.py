"""New items are placed by their attributes, new users by context and their first three events."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tests.quality.logs import Log, trained_figures

pytestmark = pytest.mark.quality

LOG = Log(users=600, items=300, events=20)
FIRST_EVENTS = 3
SHARE_WITHHELD = 0.1
SURFACES = 5


@pytest.fixture(scope="module")
def events() -> pl.DataFrame:
    """All events, the last eighth of each user's as test and one before it as validation."""
    split = np.repeat(["train", "validation", "test"], [LOG.events - 4, 1, 3])
    table = pl.from_arrow(LOG.table())
    assert isinstance(table, pl.DataFrame)
    return table.with_columns(split=pl.Series(np.tile(split, LOG.users)))


def figures_of(root: Path, events: pl.DataFrame, context: Sequence[str] = ()) -> dict[str, Any]:
    columns = [pa.field(name, pa.string()) for name in ("split", *context)]
    table: pa.Table = events.to_arrow().cast(pa.schema([*LOG.table().schema, *columns]))
    features = {"split": {"kind": "column"}, "context": list(context)}
    return trained_figures(root, LOG.adapter(table), features=features)


def test_withheld_items_are_found_by_their_attributes(tmp_path: Path, events: pl.DataFrame) -> None:
    """Their events are taken from training; recall is among all items, not among the new alone."""
    num_withheld = int(SHARE_WITHHELD * LOG.items)
    withheld = np.random.default_rng(1).choice(LOG.items, num_withheld, replace=False)
    is_kept = (pl.col("split") == "test") | ~pl.col("item_id").is_in(withheld.tolist())
    figures = figures_of(tmp_path, events.filter(is_kept))
    new_items = figures["slices"]["new_items"]
    assert new_items["targets"] > 100
    recall, floor = (
        new_items["retrieval"][name]["recall@100"] for name in ("two_tower", "popular")
    )
    random = 100 / LOG.items
    assert recall > 1.5 * max(random, floor)


def test_new_users_are_known_by_their_first_three_events(
    tmp_path: Path, events: pl.DataFrame
) -> None:
    """A fifth of the users have no training event: validation holds their first three."""
    is_new = pl.col("user_id") % 5 == 0
    order = pl.int_range(pl.len()).over("user_id")
    first = events.with_columns(
        split=pl.when(is_new & (order < FIRST_EVENTS)).then(pl.lit("validation")).otherwise("split")
    ).filter(~is_new | (pl.col("split") == "test") | (order < FIRST_EVENTS))
    slices = figures_of(tmp_path, first)["slices"]
    assert slices["history_1_3"]["users"] == slices["new_users"]["users"] == LOG.users // 5
    two_tower, popular = (
        slices["history_1_3"]["retrieval"][name]["recall@20"] for name in ("two_tower", "popular")
    )
    assert two_tower > 1.3 * popular


def test_new_users_without_events_are_known_by_their_context(
    tmp_path: Path, events: pl.DataFrame
) -> None:
    """A fifth of the users come for the first time; a surface shows items of two topics."""
    is_new = pl.col("user_id") % 5 == 0
    surface = pl.format("surface {}", pl.col("item_id") % LOG.topics % SURFACES)
    first = events.filter(~is_new | (pl.col("split") == "test")).with_columns(surface=surface)
    new_users = figures_of(tmp_path, first, ["surface"])["slices"]["history_0"]
    assert new_users["users"] == LOG.users // 5
    two_tower, popular = (
        new_users["retrieval"][name]["recall@20"] for name in ("two_tower", "popular")
    )
    assert two_tower > 1.3 * popular
