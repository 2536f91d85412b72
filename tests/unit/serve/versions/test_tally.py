"""Answers are counted so that bundles can be compared."""

from collections.abc import Callable

import numpy as np
import pytest

from serve.messages import Answer
from serve.versions.tally import WINDOW, Tally, merged, psi

Make = Callable[..., Answer]
Count = Callable[..., Tally]


def test_time_is_that_of_the_stages_and_not_of_waiting(make: Make) -> None:
    tally = Tally()
    tally.note(make(ms=10.0))
    tally.note(make(ms=30.0))
    assert tally.mean_ms == 20.0


def test_the_tail_is_what_one_answer_in_a_hundred_exceeds(make: Make) -> None:
    tally = Tally()
    assert tally.tail_ms is None
    for number in range(1, 1_001):
        tally.note(make(ms=number / 10))
    assert tally.tail_ms == pytest.approx(99.0, rel=0.02)
    tally.note(make(degraded="rank late", ms=9_000.0))
    assert tally.latencies.count == 1_000, "what was late is a fault"


@pytest.mark.parametrize("degraded", ["rank failed", "rank late", "hydrate late, rerank failed"])
def test_a_missing_stage_is_a_fault(make: Make, degraded: str) -> None:
    tally = Tally()
    tally.note(make())
    tally.note(make(degraded=degraded, ms=1_000.0))
    assert (tally.answers, tally.faults, tally.fault_share, tally.mean_ms) == (2, 1, 0.5, 10.0)


@pytest.mark.parametrize("degraded", ["overload: no ranker", "overload: no ranker, rerank late"])
def test_what_overload_made_cheaper_says_nothing_of_the_bundle(make: Make, degraded: str) -> None:
    tally = Tally()
    tally.note(make(degraded=degraded))
    assert tally.answers == 0


def test_what_came_from_a_cache_says_nothing_of_the_bundle(make: Make) -> None:
    tally = Tally()
    tally.note(make().model_copy(update={"timings_ms": {"cache": 0.1, "total": 0.1}}))
    assert tally.answers == 0


def test_an_answer_without_items_counts_against_the_bundle(make: Make) -> None:
    tally = Tally()
    tally.note(make([]))
    assert (tally.empties, tally.fault_share) == (1, 1.0)


def test_overlap_is_the_share_of_what_was_shown(make: Make) -> None:
    tally = Tally()
    assert tally.overlap is None
    tally.note(make([0.5, 0.5]), shown=[1, 2, 3, 4])
    tally.note(make([0.5, 0.5]), shown=[1, 2])
    assert tally.overlap == 0.75


def test_tallies_add_up_as_if_counted_together(count: Count) -> None:
    parts = [count(30, seed=1, faults=2), count(50, mean=0.6, seed=2)]
    total = merged(parts)
    assert (total.answers, total.faults) == (80, 2)
    expected = parts[0].predictions["click"] + parts[1].predictions["click"]
    np.testing.assert_array_equal(total.predictions["click"], expected)
    assert total.latencies.count == 78
    assert total.predictions["click"].sum() == 20 * 78


def test_older_answers_count_less_after_a_while(count: Count) -> None:
    tally = Tally(answers=WINDOW + 1, ms=WINDOW + 1)
    tally.add(Tally(answers=1, ms=1))
    assert tally.answers == (WINDOW + 1) / 2 + 1
    assert tally.mean_ms == pytest.approx(1.0)


def test_an_earlier_tail_counts_less_after_a_while(count: Count) -> None:
    tally = count(1_000, ms=500)
    tally.answers = WINDOW + 1
    tally.add(count(10))
    assert tally.latencies.count == 510


def test_drift_is_small_within_a_distribution_and_large_between_two(count: Count) -> None:
    ours = count(300, mean=0.2, seed=1)
    assert ours.drift(count(300, mean=0.2, seed=2))["click"] < 0.02
    assert 0.1 < ours.drift(count(300, mean=0.25, seed=3))["click"] < 1
    assert ours.drift(count(300, mean=0.6, seed=4))["click"] > 1


def test_drift_is_the_stability_index_of_the_textbook() -> None:
    own, other = np.zeros((2, 55))
    other[:10] = 10.0
    own[:10] = [15.0] * 5 + [5.0] * 5
    expected = 5 * (0.15 - 0.1) * np.log(1.5) + 5 * (0.05 - 0.1) * np.log(0.5)
    assert psi(own, other) == pytest.approx(expected)


def test_tasks_that_only_one_bundle_predicts_have_no_drift(count: Count) -> None:
    other = count(10)
    other.predictions = {"like": other.predictions["click"]}
    assert count(10).drift(other) == {}
