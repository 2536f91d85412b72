"""The ladder rises step by step under pressure and comes down when that will hold."""

import pytest
from pydantic import ValidationError

from serve.ladder import RISE_INTERVAL_S, Ladder, OverloadConfig

TICK_S = 0.01


def run(ladder: Ladder, pressure: float, start_s: float, seconds: float, above: float) -> list[int]:
    """Return the level after each tick of steady pressure."""
    ticks = range(round(seconds / TICK_S))
    return [
        ladder.observe(pressure, start_s + TICK_S * tick, utilization_above=above) for tick in ticks
    ]


def test_without_pressure_nothing_gives_way() -> None:
    assert set(run(Ladder(OverloadConfig()), 0.2, 0.0, 10.0, above=0.2)) == {0}


def test_pressure_takes_one_step_after_the_other_but_never_popular() -> None:
    levels = run(Ladder(OverloadConfig()), 2.0, 0.0, 5.0, above=5.0)
    assert levels[0] == 1, "the first request after a pause is all that is known"
    assert sorted(set(levels)) == [1, 2, 3]
    assert levels == sorted(levels)
    assert levels.index(3) * TICK_S == pytest.approx(2 * RISE_INTERVAL_S, abs=2 * TICK_S)


def test_one_slow_moment_changes_nothing() -> None:
    ladder = Ladder(OverloadConfig())
    run(ladder, 0.1, 0.0, 1.0, above=0.2)
    assert ladder.observe(3.0, 1.0, utilization_above=0.2) == 0
    assert set(run(ladder, 0.1, 1.01, 1.0, above=0.2)) == {0}


def test_between_the_thresholds_a_level_stays() -> None:
    ladder = Ladder(OverloadConfig(steps=("no_ranker",)))
    run(ladder, 1.0, 0.0, 1.0, above=0.1)
    assert set(run(ladder, 0.4, 1.0, 60.0, above=0.1)[100:]) == {1}


def test_steps_are_taken_back_one_hold_after_the_other_when_the_rate_allows() -> None:
    ladder = Ladder(OverloadConfig(hold=1_000))
    run(ladder, 1.0, 0.0, 2.0, above=3.0)
    levels = run(ladder, 0.1, 2.0, 6.0, above=0.3)
    assert levels == sorted(levels, reverse=True)
    assert (levels[0], levels[-1]) == (3, 0)
    falls = [TICK_S * levels.index(level) for level in (2, 1, 0)]
    assert falls[1] - falls[0] == pytest.approx(1.0, abs=3 * TICK_S)
    assert falls[2] - falls[1] == pytest.approx(1.0, abs=3 * TICK_S)


def test_a_level_that_the_rate_would_not_allow_is_tried_seldom() -> None:
    ladder = Ladder(OverloadConfig(hold=1_000, max_hold=20_000))
    run(ladder, 1.0, 0.0, 2.0, above=3.0)
    assert run(ladder, 0.1, 2.0, 19.0, above=1.5)[-1] == 3
    assert run(ladder, 0.1, 21.0, 4.0, above=1.5)[-1] == 2


def test_savings_add_up() -> None:
    config = OverloadConfig(candidates=80)
    plans = [config.plan(level, deadline_ms=5.0) for level in range(4)]
    assert [plan.max_candidates for plan in plans] == [None, 80, 80, 80]
    assert [plan.is_diverse for plan in plans] == [True, True, False, False]
    assert [plan.is_ranked for plan in plans] == [True, True, True, False]
    assert {plan.deadline_ms for plan in plans} == {5.0}
    reasons = [config.reason(level) for level in range(4)]
    assert reasons == [
        None,
        "overload: fewer candidates",
        "overload: no diversity",
        "overload: no ranker",
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": ["popular", "no_ranker"]}, '"popular" must come last'),
        ({"steps": ["no_ranker", "no_ranker"]}, "named twice"),
        ({"steps": ["no_index"]}, "steps"),
        ({"fall_at": 0.6, "rise_at": 0.5}, "must rise"),
        ({"rise_at": 0.9, "limit": 0.8}, "must rise"),
        ({"candidates": 0}, "candidates"),
        ({"objective": "0s"}, "objective"),
    ],
)
def test_wrong_ladders_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        OverloadConfig.model_validate(values)
