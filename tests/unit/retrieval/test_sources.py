"""The sources: best first, permitted items only, as many as there are."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.catalogue import Catalogue
from features.encoding import DAY_MS, HOUR_MS, Encoded
from retrieval.candidates import UserQuery, first_permitted, permitted_rows
from retrieval.exact import ExactIndex
from retrieval.popularity import PopularLists, ranked_lists
from retrieval.sources.fresh import Fresh
from retrieval.sources.popular import Popular
from retrieval.sources.source import Source
from retrieval.sources.two_tower import TwoTower

ITEMS, DIM = 60, 6
NOW_MS = 100 * DAY_MS
RANDOM = np.random.default_rng(11)
VECTORS = RANDOM.normal(size=(ITEMS + 1, DIM)).astype(np.float32)
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
VECTORS[0] = 0


def query(
    excluded: object = (), allowed: object = None, *, context: int = 0, now_ms: int = NOW_MS
) -> UserQuery:
    """Return a request with some items excluded."""
    only = None if allowed is None else np.asarray(allowed, np.int64)
    return UserQuery(
        vector=VECTORS[7],
        context_codes=np.asarray([context]),
        permitted=permitted_rows(ITEMS + 1, np.asarray(excluded, np.int64), only),
        now_ms=now_ms,
    )


def catalogue(published_ms: object, train_events: object) -> Catalogue:
    """Return a catalogue that knows only when items were published and how often shown."""
    published = np.asarray(published_ms, np.int64)
    n = len(published)
    encoded = Encoded(
        np.zeros((n, 0), np.int32), np.zeros((n, 0, 1), np.int32), np.zeros((n, 0), np.float32)
    )
    table = pl.DataFrame({"item_id": np.arange(1, len(published))})
    return Catalogue(table, encoded, published, np.asarray(train_events, np.int32))


def lists() -> PopularLists:
    """Return popular lists of everybody and of two contexts."""
    sums = np.zeros((3, ITEMS + 1))
    sums[0, 1:] = np.arange(ITEMS, 0, -1)
    sums[1, [40, 41]] = [9, 8]
    return ranked_lists(sums, 0)


def sources() -> list[Source]:
    """Return one of each."""
    published = NOW_MS - np.arange(ITEMS + 1) * HOUR_MS
    return [
        TwoTower(ExactIndex.build(VECTORS), VECTORS),
        Popular(lists()),
        Fresh(catalogue(published, np.zeros(ITEMS + 1)), 30 * DAY_MS),
        Fresh(catalogue(np.full(ITEMS + 1, -1), np.arange(ITEMS + 1) % 7), 30 * DAY_MS),
    ]


@pytest.mark.parametrize("source", sources(), ids=lambda source: source.name)
@given(
    excluded=st.sets(st.integers(-5, 80)),
    allowed=st.none() | st.sets(st.integers(0, 70)),
    count=st.integers(0, 90),
    context=st.integers(0, 2),
)
def test_every_source_fills_the_count_with_permitted_items(
    source: Source, excluded: set[int], allowed: set[int] | None, count: int, context: int
) -> None:
    asked = query(sorted(excluded), None if allowed is None else sorted(allowed), context=context)
    found = source.candidates(asked, count)
    assert len(found) == min(count, int(asked.permitted.sum()))
    assert len(np.unique(found.rows)) == len(found)
    assert asked.permitted[found.rows].all()
    assert (np.diff(found.scores) <= 0).all()
    assert np.isfinite(found.scores).all()
    assert found.rows.dtype == np.int64
    assert found.scores.dtype == np.float32


def test_two_tower_under_a_narrow_filter_scans_exactly() -> None:
    found = sources()[0].candidates(query(allowed=[3, 7, 9]), 10)
    assert found.rows[0] == 7
    wanted = VECTORS[found.rows] @ VECTORS[7]
    np.testing.assert_array_equal(found.scores, wanted)


def test_popular_in_a_known_context_comes_before_what_everybody_likes() -> None:
    popular = Popular(lists())
    assert popular.candidates(query(context=1), 4).rows.tolist() == [40, 41, 1, 2]
    assert popular.candidates(query(context=0), 2).rows.tolist() == [1, 2]
    assert popular.candidates(query(context=2), 2).rows.tolist() == [1, 2]
    assert popular.candidates(query([40, 1], context=1), 3).rows.tolist() == [41, 2, 3]


def test_popular_without_a_context_column_serves_everybody_alike() -> None:
    sums = np.zeros((1, ITEMS + 1))
    sums[0, 5] = 1
    popular = Popular(ranked_lists(sums, -1))
    assert popular.candidates(query(context=2), 1).rows.tolist() == [5]


def test_fresh_is_newest_first_and_neither_from_the_future_nor_old() -> None:
    published = np.asarray([-1, NOW_MS + 1, NOW_MS, NOW_MS - DAY_MS, -1, NOW_MS - 3 * DAY_MS])
    fresh = Fresh(catalogue(published, np.zeros(6)), 2 * DAY_MS)
    asked = UserQuery(
        VECTORS[1], np.zeros(0, np.int64), permitted_rows(6, np.zeros(0, int)), NOW_MS
    )
    found = fresh.candidates(asked, 10)
    assert found.rows.tolist() == [2, 3]
    assert found.scores.tolist() == [1.0, 0.5]


def test_fresh_without_dates_is_what_was_shown_least() -> None:
    fresh = Fresh(catalogue([-1, -1, -1, -1], [0, 5, 0, 1]), 2 * DAY_MS)
    asked = UserQuery(
        VECTORS[1], np.zeros(0, np.int64), permitted_rows(4, np.zeros(0, int)), NOW_MS
    )
    found = fresh.candidates(asked, 10)
    assert found.rows.tolist() == [2, 3, 1]
    assert found.scores.tolist() == [1.0, 0.5, np.float32(1 / 6)]


@pytest.mark.parametrize("count", [0, 1, 7, 500])
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_the_first_permitted_are_those_of_the_whole_list(count: int, share: float) -> None:
    random = np.random.default_rng(0)
    for num_items in (0, 1, 300):
        rows = random.permutation(num_items) + 1
        permitted = random.random(num_items + 1) < share
        expected = np.flatnonzero(permitted[rows])[:count]
        assert first_permitted(rows, permitted, count).tolist() == expected.tolist()
