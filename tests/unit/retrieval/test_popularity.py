"""Popularity: decayed sums by item, overall and by context."""

from pathlib import Path

import numpy as np
import pytest

from cluster.errors import InputError
from features.examples import Examples
from retrieval.popularity import Decay, PopularLists, context_column, popularity, ranked_lists
from tests.toy_recommender import DATA_END_MS, toy_recommender

WEEK_MS = 7 * 86_400_000


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """The toy recommender's prepared data."""
    return Examples.open(toy_recommender(tmp_path_factory.mktemp("toy")))


def test_a_positive_counts_half_after_a_half_life() -> None:
    decay = Decay(DATA_END_MS, WEEK_MS, has_time=True)
    ages = np.asarray([0, WEEK_MS, 2 * WEEK_MS])
    np.testing.assert_allclose(decay.weights(DATA_END_MS - ages), [1, 0.5, 0.25])
    assert decay.weights(np.asarray([DATA_END_MS + WEEK_MS])).tolist() == [1]


def test_order_only_data_is_not_decayed() -> None:
    assert Decay(9, 1, has_time=False).weights(np.arange(3)).tolist() == [1, 1, 1]


def test_sums_equal_a_plain_loop(examples: Examples) -> None:
    decay = Decay(DATA_END_MS, WEEK_MS, has_time=True)
    sums = popularity(examples, decay, 0)
    wanted = np.zeros_like(sums)
    for partition in range(examples.num_partitions):
        timelines = examples.timelines(partition)
        weights = decay.weights(np.asarray(timelines.timestamps))
        codes = timelines.context_codes[:, 0]
        for item, code, weight in zip(timelines.items, codes, weights, strict=True):
            wanted[0, item] += weight
            if code:
                wanted[code, item] += weight
    np.testing.assert_allclose(sums, wanted)


def test_lists_are_sorted_and_only_the_first_is_complete(
    examples: Examples, tmp_path: Path
) -> None:
    sums = popularity(examples, Decay(DATA_END_MS, WEEK_MS, has_time=True), 0)
    ranked_lists(sums, 0).save(tmp_path / "popular")
    lists = PopularLists.open(tmp_path / "popular")
    for code in range(3):
        own = lists.ranked(code)
        np.testing.assert_allclose(own.scores, sums[code, own.rows], rtol=1e-6)
        assert (np.diff(own.scores) <= 0).all()
    assert sorted(lists.ranked(0).rows) == list(range(1, examples.catalogue.num_items + 1))
    assert sorted(lists.ranked(2).rows) == np.flatnonzero(sums[2]).tolist()


def test_unknown_context_column_is_named(examples: Examples) -> None:
    assert context_column(examples.schema, None) == -1
    assert context_column(examples.schema, "tab") == 0
    with pytest.raises(InputError, match=r"popular\.context: .*'tabb'; known: tab"):
        context_column(examples.schema, "tabb")
