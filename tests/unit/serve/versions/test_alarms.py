"""A bundle is taken back for faults, slowness and drift, and not for chance."""

from collections.abc import Callable

from serve.versions.alarms import alarm, unfit
from serve.versions.config import RolloutConfig
from serve.versions.tally import Tally

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


def test_other_predictions_raise_one(count: Count) -> None:
    assert "predictions of click" in said(count(200, mean=0.6), count(200, mean=0.2))


def test_a_trial_is_failed_by_faults_but_not_by_one(count: Count) -> None:
    assert unfit(CONFIG, count(20, faults=1)) is None
    assert "2 missed a stage" in str(unfit(CONFIG, count(20, faults=2)))
    assert unfit(CONFIG, Tally()) is None
