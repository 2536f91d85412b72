"""A bundle is taken back for faults, slowness and drift, and not for chance."""

from collections.abc import Callable

from serve.versions.alarms import alarm, unfit
from serve.versions.config import RolloutConfig
from serve.versions.tally import Tally, merged

Count = Callable[..., Tally]
CONFIG = RolloutConfig(min_answers=100)


def said(own: Tally, other: Tally) -> str:
    """Return the alarm, which there must be."""
    reason = alarm(CONFIG, own, other)
    assert reason is not None
    return reason


def test_a_bundle_like_the_other_raises_no_alarm(count: Count) -> None:
    assert alarm(CONFIG, count(200, seed=1, faults=2), count(200, seed=2, faults=1)) is None


def test_few_answers_raise_no_alarm(count: Count) -> None:
    assert alarm(CONFIG, count(99, faults=90), count(200)) is None


def test_more_faults_than_the_other_bundle_s_raise_one(count: Count) -> None:
    assert "8 missed a stage" in said(count(200, faults=8), count(200))
    assert alarm(CONFIG, count(200, faults=8), count(200, faults=8)) is None


def test_faults_need_no_answers_of_the_other_bundle(count: Count) -> None:
    assert "8 missed a stage" in said(count(200, faults=8), Tally())


def test_slowness_raises_one(count: Count) -> None:
    assert "35.0 ms in the stages" in said(count(200, ms=35), count(200, ms=10))
    assert alarm(CONFIG, count(200, ms=29), count(200, ms=10)) is None
    assert alarm(CONFIG, count(200, ms=35), count(50, ms=10)) is None


def test_a_slow_tail_raises_one_though_the_mean_is_like_the_other_s(count: Count) -> None:
    own = merged([count(980), count(20, ms=100)])
    assert own.mean_ms < 1.2 * count(1_000).mean_ms
    reason = said(own, count(1_000))
    assert "one answer in a hundred takes over" in reason
    assert "max_tail_slowdown is 4" in reason


def test_a_tail_that_both_have_raises_none(count: Count) -> None:
    own = merged([count(980, seed=1), count(20, ms=100, seed=2)])
    other = merged([count(980, seed=3), count(20, ms=60, seed=4)])
    assert alarm(CONFIG, own, other) is None


def test_one_slow_answer_in_two_hundred_is_no_tail(count: Count) -> None:
    own = merged([count(995), count(5, ms=100)])
    assert alarm(CONFIG, own, count(1_000)) is None


def test_a_tail_of_few_answers_of_either_bundle_is_chance(count: Count) -> None:
    slow = merged([count(880), count(20, ms=100)])
    assert alarm(CONFIG, slow, count(1_000)) is None
    assert alarm(CONFIG, merged([slow, count(100)]), count(900)) is None
    eager = RolloutConfig(min_answers=100, tail_answers=900)
    assert alarm(eager, slow, count(900)) is not None


def test_a_slow_tail_is_borne_where_the_limit_is_higher(count: Count) -> None:
    own = merged([count(980), count(20, ms=100)])
    patient = RolloutConfig(min_answers=100, max_tail_slowdown=20)
    assert alarm(patient, own, count(1_000)) is None


def test_other_predictions_raise_one(count: Count) -> None:
    assert "predictions of click" in said(count(200, mean=0.6), count(200, mean=0.2))


def test_a_trial_is_failed_by_faults_but_not_by_one(count: Count) -> None:
    assert unfit(CONFIG, count(20, faults=1)) is None
    assert "2 missed a stage" in str(unfit(CONFIG, count(20, faults=2)))
    assert unfit(CONFIG, Tally()) is None
