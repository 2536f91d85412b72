"""Halving ends the worse trials, spares the config's own and remembers a killed sweep's rungs."""

from pathlib import Path
from typing import Any

import pytest

from tests.sweeps import SPACE, FakeTrial, standing, sweep_of
from tune.schedulers import Halving
from tune.sweep import Sweep

RATE = "train.ranking.learning_rate"


class Trial(FakeTrial):
    """A trial that halving can count."""

    @property
    def trial_id(self) -> str:
        """Its rate names it."""
        return str(self.config[RATE])


def trial(rate: float, **reported: Any) -> Trial:
    return Trial({RATE: rate, "models.ranker.mixture": '"shared"'}, last_result=reported)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(SPACE, tmp_path)


def halving(sweep: Sweep, sign: float = 1.0) -> Halving:
    return Halving(
        sweep.space.defaults(),
        sign,
        time_attr="epoch",
        metric="score",
        mode="max",
        max_t=9,
        reduction_factor=2,
    )


def decision(scheduler: Halving, trial: Trial, *curve: float, sign: float = 1.0) -> str:
    scheduler.on_trial_add(None, trial)
    return scheduler.on_trial_result(None, trial, standing(*curve, sign=sign))


def test_a_trial_below_the_others_of_its_rung_is_ended(sweep: Sweep) -> None:
    scheduler = halving(sweep)
    assert decision(scheduler, trial(0.001), 0.7) == "CONTINUE"
    assert decision(scheduler, trial(0.002), 0.6) == "STOP"


def test_the_configs_own_trial_is_never_ended(sweep: Sweep) -> None:
    scheduler = halving(sweep)
    default = Trial(dict(sweep.space.defaults() or {}))
    assert decision(scheduler, trial(0.001), 0.7) == "CONTINUE"
    assert decision(scheduler, default, 0.6) == "CONTINUE"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_rungs_that_a_killed_sweep_had_filled_count(sweep: Sweep, sign: float) -> None:
    scheduler = halving(sweep, sign)
    scheduler.on_trial_add(None, trial(0.001, **standing(0.7 * sign, 0.8 * sign, sign=sign)))
    assert decision(scheduler, trial(0.002), 0.75 * sign, sign=sign) == "CONTINUE"
    assert decision(scheduler, trial(0.003), 0.6 * sign, sign=sign) == "STOP"
    assert decision(scheduler, trial(0.004), 0.75 * sign, 0.76 * sign, sign=sign) == "STOP"
