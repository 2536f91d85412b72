"""The floors equal their definitions on a toy."""

from pathlib import Path

import numpy as np
import pytest

from features.examples import Examples
from tests.toy_retrieval import ITEMS, Event, random_timelines, toy_examples
from train.floors import CoOccurrence, Popular
from train.retrieval_queries import Queries, Questions

DAY = 86_400


@pytest.fixture(scope="module")
def timelines() -> list[list[Event]]:
    return random_timelines(np.random.default_rng(21))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory, timelines: list[list[Event]]) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"), timelines)


def queries_of(examples: Examples) -> Queries:
    return next(Questions(examples, "test", exclude_seen=True).chunks(100))


def test_popular_counts_training_positives(
    examples: Examples, timelines: list[list[Event]]
) -> None:
    items = [e.item for events in timelines for e in events if e.split == "train"]
    scores = Popular(examples, "validation").scores(queries_of(examples))
    assert (scores == np.bincount(items, minlength=ITEMS + 1)).all()


def test_recent_popularity_halves_with_age_and_counts_validation(tmp_path: Path) -> None:
    events = [
        Event(1, 0),
        Event(2, 2 * DAY),
        Event(3, 4 * DAY, "validation"),
        Event(4, 9 * DAY, "test"),
    ]
    examples = toy_examples(tmp_path, [events], partitions=1)
    popular = Popular(examples, "test", half_life_days=2)
    np.testing.assert_allclose(popular.popularity[:5], [0, 0.25, 0.5, 1.0, 0])


def test_co_occurrence_sums_cosines_of_training_users(
    examples: Examples, timelines: list[list[Event]]
) -> None:
    watched = np.zeros((len(timelines), ITEMS + 1))
    for user, events in enumerate(timelines):
        watched[user, [e.item for e in events if e.split == "train"]] = 1
    norms = np.maximum(np.sqrt(watched.sum(0)), 1)
    cosines = watched.T @ watched / np.outer(norms, norms)
    np.fill_diagonal(cosines, 0)
    queries = queries_of(examples)
    past = np.zeros((len(queries), ITEMS + 1))
    past[queries.known_query, queries.known_items] = 1
    scores = CoOccurrence(examples).scores(queries)
    has_positives = watched.sum(0) > 0
    np.testing.assert_allclose(
        scores[:, has_positives], (past @ cosines)[:, has_positives], atol=1e-5
    )
