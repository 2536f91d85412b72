"""The slate: value, diversity and caps."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import ConfigError
from serve.config import RerankConfig
from serve.hydration import Hydrator
from serve.messages import Request
from serve.reranking import Reranker, choose
from serve.stages import Candidates, Query, Ranked
from tests.toy_bundle import ITEMS, TASKS, ToyBundle

BY_VALUE = RerankConfig(diversity=0.0)


def ranked_of(bundle: ToyBundle, predictions: object, rows: object = None) -> Ranked:
    values = np.asarray(predictions, np.float32).reshape(-1, len(TASKS))
    rows = np.arange(1, len(values) + 1) if rows is None else np.asarray(rows)
    falling = np.linspace(1, 0, len(rows), dtype=np.float32)
    sources = np.arange(len(rows)) % 2
    found = Candidates(bundle.id, rows, falling, sources, ("two_tower", "popular"))
    return Ranked(found, tuple(task.name for task in TASKS), values)


def query_of(hydrator: Hydrator, **request: object) -> Query:
    return hydrator.hydrate(Request.model_validate({"user_id": 1, **request}))


def test_the_value_weighs_the_tasks(bundle: ToyBundle) -> None:
    reranker = Reranker(bundle, {"click": 1.0, "watch_time": 0.5}, BY_VALUE)
    values = reranker.values(ranked_of(bundle, [[0.5, 0.9, 0.0], [0.1, 0.0, np.e - 1]]))
    assert values.tolist() == pytest.approx([0.5, 0.6])


def test_without_weights_the_positive_task_decides(bundle: ToyBundle) -> None:
    values = Reranker(bundle, {}, BY_VALUE).values(ranked_of(bundle, [[0.5, 1.0, 9.0]]))
    assert values.tolist() == [0.5]


def test_a_prediction_that_is_no_number_adds_nothing_and_is_null(
    bundle: ToyBundle, hydrator: Hydrator
) -> None:
    reranker = Reranker(bundle, {"click": 1.0, "like": 1.0}, BY_VALUE)
    ranked = ranked_of(bundle, [[np.nan, 0.2, 1], [0.1, np.inf, 1], [0.3, 0.0, 1]])
    slate = reranker.rerank(query_of(hydrator), ranked)
    assert [item.item_id for item in slate.items] == [102, 100, 101]
    assert slate.items[1].predictions == pytest.approx(
        {"click": None, "like": 0.2, "watch_time": 1.0}
    )
    assert slate.items[2].predictions["like"] is None


def test_unranked_candidates_keep_the_order_of_retrieval(
    bundle: ToyBundle, hydrator: Hydrator
) -> None:
    ranked = Ranked.unranked(ranked_of(bundle, np.zeros((5, 3)), rows=[9, 3, 7, 1, 2]).candidates)
    slate = Reranker(bundle, {}, BY_VALUE).rerank(query_of(hydrator, num_items=3), ranked)
    assert [item.item_id for item in slate.items] == [108, 102, 106]
    assert slate.items[0].predictions == {}


def test_items_are_shown_with_source_and_title(bundle: ToyBundle, hydrator: Hydrator) -> None:
    slate = Reranker(bundle, {}, BY_VALUE).rerank(
        query_of(hydrator), ranked_of(bundle, [[0.9, 0, 0], [0.8, 0, 0]])
    )
    shown = [(item.item_id, item.title, item.source, item.reasons) for item in slate.items]
    assert shown == [(100, "Item 100", "two_tower", None), (101, "Item 101", "popular", None)]


def test_reasons_come_where_they_are_asked_for(bundle: ToyBundle, hydrator: Hydrator) -> None:
    slate = Reranker(bundle, {}, BY_VALUE).rerank(
        query_of(hydrator, explain=True), ranked_of(bundle, [[0.9, 0, 2.0]])
    )
    assert slate.items[0].reasons == [
        "suits users like you",
        "click 0.9",
        "like 0",
        "watch_time 2",
    ]


def test_diversity_passes_over_a_near_duplicate() -> None:
    vectors = np.asarray([[1, 0], [1, 0], [0, 1]], np.float32)
    values = np.asarray([1.0, 0.9, 0.5], np.float32)
    no_cap = np.zeros(3, np.int64)

    def order(diversity: float) -> list[int]:
        config = RerankConfig(diversity=diversity)
        return choose(values, vectors, no_cap, num_items=3, config=config).tolist()

    assert order(0.0) == [0, 1, 2]
    assert order(0.6) == [0, 2, 1]


def test_no_creator_takes_more_than_its_places_until_nothing_else_is_left(
    bundle: ToyBundle, hydrator: Hydrator
) -> None:
    config = RerankConfig(diversity=0.0, cap="creator", max_per_value=2)
    rows = [2, 6, 10, 14, 3, 7]  # bo four times, cy twice
    predictions = [[0.9 - 0.1 * i, 0, 0] for i in range(6)]
    slate = Reranker(bundle, {}, config).rerank(
        query_of(hydrator), ranked_of(bundle, predictions, rows)
    )
    assert [item.item_id for item in slate.items] == [101, 105, 102, 106, 109, 113]


def test_a_cap_on_no_attribute_is_refused(bundle: ToyBundle) -> None:
    with pytest.raises(ConfigError, match=r"serve.rerank.cap: no item attribute 'author'"):
        Reranker(bundle, {}, RerankConfig(cap="author"))


slates = st.tuples(
    st.integers(0, ITEMS), st.integers(1, 80), st.floats(0, 1), st.integers(1, 4), st.integers(0, 9)
)


@given(slates)
def test_a_slate_has_each_item_once_and_as_many_as_there_are(
    drawn: tuple[int, int, float, int, int],
) -> None:
    num, num_items, diversity, max_per_value, seed = drawn
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(num, 4)).astype(np.float32)
    capped = random.integers(0, 4, num)
    chosen = choose(
        random.random(num).astype(np.float32),
        vectors,
        capped,
        num_items=num_items,
        config=RerankConfig(diversity=diversity, max_per_value=max_per_value),
    )
    assert len(set(chosen.tolist())) == len(chosen) == min(num, num_items)
    fits = [
        sum(min(n, max_per_value) if value else n for value, n in Counter(capped.tolist()).items())
    ]
    within = Counter(capped[chosen[: fits[0]]].tolist())
    assert all(n <= max_per_value for value, n in within.items() if value)


def test_choosing_by_value_alone_is_sorting() -> None:
    random = np.random.default_rng(1)
    values = random.random(50).astype(np.float32)
    chosen = choose(
        values, np.zeros((50, 2), np.float32), np.zeros(50, np.int64), num_items=50, config=BY_VALUE
    )
    assert chosen.tolist() == np.argsort(-values).tolist()
