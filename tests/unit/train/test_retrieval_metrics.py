"""Retrieval metrics equal their definitions, written out list by list."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.retrieval_metrics import NUM_RANKED, exposure, means, retrieval_metrics


def by_definition(ranked: list[int], targets: set[int]) -> dict[str, float]:
    hits = [item in targets for item in ranked]

    def recall(k: int) -> float:
        return sum(hits[:k]) / len(targets)

    def ndcg(k: int) -> float:
        gained = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits[:k]) if hit)
        ideal = sum(1 / math.log2(place + 2) for place in range(min(k, len(targets))))
        return gained / ideal

    return {
        "hit_rate@10": float(any(hits[:10])),
        "ndcg@10": ndcg(10),
        "recall@20": recall(20),
        "ndcg@20": ndcg(20),
        "recall@100": recall(100),
    }


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_figure_equals_its_definition(data: st.DataObject) -> None:
    num_lists = data.draw(st.integers(1, 4))
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    num_items = data.draw(st.integers(1, 150))
    ranked = np.zeros((num_lists, NUM_RANKED), np.int64)
    targets: list[set[int]] = []
    for k in range(num_lists):
        order = random.permutation(np.arange(1, num_items + 1))[:NUM_RANKED]
        ranked[k, : len(order)] = order
        count = int(random.integers(1, min(num_items, 30) + 1))
        targets.append(set(random.choice(num_items, count, replace=False) + 1))
    query = np.repeat(np.arange(num_lists), [len(chosen) for chosen in targets])
    items = np.asarray([item for chosen in targets for item in sorted(chosen)], np.int32)
    figures = retrieval_metrics(ranked, query, items)
    for k, chosen in enumerate(targets):
        expected = by_definition(ranked[k].tolist(), chosen)
        assert {name: values[k] for name, values in figures.items()} == pytest.approx(expected)


def test_a_list_without_targets_counts_nowhere() -> None:
    ranked = np.tile(np.arange(1, NUM_RANKED + 1), (2, 1))
    figures = retrieval_metrics(ranked, np.asarray([1]), np.asarray([1], np.int32))
    assert np.isnan([values[0] for values in figures.values()]).all()
    assert set(means(figures).values()) == {1.0}


def test_no_targets_at_all_have_no_means() -> None:
    nothing = np.zeros((0, NUM_RANKED), np.int64)
    figures = retrieval_metrics(nothing, np.zeros(0, np.int64), np.zeros(0, np.int32))
    assert set(means(figures).values()) == {None}


def test_lists_that_are_all_the_same_cover_little_and_lie_far_from_equal() -> None:
    same = np.tile(np.arange(1, NUM_RANKED + 1), (40, 1))
    figures = exposure(same, num_items=1000)
    assert figures["coverage@10"] == pytest.approx(0.01)
    assert figures["coverage@100"] == pytest.approx(0.1)
    assert figures["gini@10"] == pytest.approx(0.99)
    assert figures["gini@100"] == pytest.approx(0.9)


def test_lists_that_show_everything_alike_cover_all_and_are_equal() -> None:
    rolled = np.stack([np.roll(np.arange(1, NUM_RANKED + 1), k) for k in range(NUM_RANKED)])
    figures = exposure(rolled, num_items=NUM_RANKED)
    assert figures["coverage@10"] == figures["coverage@100"] == 1.0
    assert figures["gini@10"] == pytest.approx(0.0, abs=1e-12)


def test_gini_is_the_mean_difference_between_two_items() -> None:
    """The definition: mean absolute difference over twice the mean; padding shows nothing."""
    ranked = np.zeros((3, NUM_RANKED), np.int64)
    ranked[:, 0], ranked[0, 1], ranked[1, 1] = 1, 2, 3
    shown = np.asarray([3, 1, 1, 0])
    difference = np.abs(shown[:, None] - shown).mean()
    assert exposure(ranked, num_items=4)["gini@10"] == pytest.approx(
        difference / (2 * shown.mean())
    )


def test_no_lists_have_no_exposure() -> None:
    nothing = np.zeros((0, NUM_RANKED), np.int64)
    assert set(exposure(nothing, num_items=5).values()) == {None}
