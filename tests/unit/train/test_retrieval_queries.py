"""Retrieval's questions: histories end before the split, targets are new and complete."""

from pathlib import Path

import numpy as np
import pytest

from features.examples import Examples
from features.timelines import SPLITS
from models.two_tower import USER_TOWER_INPUTS
from tests.toy_retrieval import HISTORY, Event, random_timelines, toy_examples
from train.retrieval_queries import Questions

INTERLEAVED = [
    [
        Event(1, 0),
        Event(2, 1, "test"),
        Event(3, 2, "validation"),
        Event(1, 3, "test"),
        Event(4, 4),
        Event(2, 5, "test"),
        Event(5, 6, "test"),
    ],
    [Event(6, 0), Event(7, 1)],
    [Event(8, 9, "test")],
]


@pytest.fixture(scope="module")
def timelines() -> list[list[Event]]:
    return random_timelines(np.random.default_rng(11)) + INTERLEAVED


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory, timelines: list[list[Event]]) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"), timelines)


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_queries_equal_what_the_timelines_say(
    examples: Examples, timelines: list[list[Event]], split: str, exclude_seen: bool
) -> None:
    earlier = SPLITS[: SPLITS.index(split)]
    expected = {}
    for user, events in enumerate(timelines, start=1):
        known = [event for event in events if event.split in earlier]
        seen = {event.item for event in known} if exclude_seen else set()
        wanted = [e for e in events if e.split == split and e.item not in seen]
        if wanted:
            history = [event.item for event in known][-HISTORY:]
            first_ms = wanted[0].second * 1000
            expected[user] = (history, first_ms, {event.item for event in wanted})
    found = {}
    for queries in Questions(examples, split, exclude_seen=exclude_seen).chunks(2):
        for k, user in enumerate(queries.users):
            targets = queries.target_items[queries.target_query == k].tolist()
            assert len(targets) == len(set(targets))
            history = queries.history[k][queries.history[k] > 0].tolist()
            found[int(user)] = (history, int(queries.timestamps[k]), set(targets))
    assert found == expected


def test_what_a_user_knows_is_all_of_the_past(tmp_path: Path) -> None:
    past = [Event(k % 20 + 1, k) for k in range(3 * HISTORY)]
    examples = toy_examples(tmp_path, [[*past, Event(23, 100, "test")]], partitions=1)
    (queries,) = Questions(examples, "test", exclude_seen=True).chunks(10)
    np.testing.assert_array_equal(queries.known_items, [event.item for event in past])
    np.testing.assert_array_equal(queries.history[0], [e.item for e in past[-HISTORY:]])


def test_inputs_are_those_of_the_user_tower(examples: Examples) -> None:
    queries = next(Questions(examples, "test", exclude_seen=True).chunks(3))
    assert tuple(queries.inputs(examples)) == USER_TOWER_INPUTS


def test_a_limit_takes_evenly_spaced_users(examples: Examples) -> None:
    questions = Questions(examples, "test", exclude_seen=False)
    everyone = np.concatenate([queries.users for queries in questions.chunks(2)])
    some = np.concatenate([queries.users for queries in questions.chunks(2, 3)])
    assert 1 <= len(some) <= 4
    assert set(some) < set(everyone)
