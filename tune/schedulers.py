"""Who ends or replaces trials while they train: halving, population based training, nobody."""

from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any

import ray.tune.schedulers

from tune.config import TuneConfig
from tune.parameter import Parameter
from tune.space import Drawn, Space
from tune.trial import EPOCH

Domains = dict[str, Any]


class Halving(ray.tune.schedulers.AsyncHyperBandScheduler):  # type: ignore[misc]  # Ray is untyped
    """Successive halving that spares the config's own trial and knows what a killed sweep knew.

    The others are compared with that trial, so that it has to come to its end. Ray Tune keeps no
    scheduler's state: what trials have reported before is read from them when they are added.

    Args:
        default: what that trial has drawn.
        sign: of the figure, so that higher is better.
        options: of Ray Tune's scheduler.
    """

    def __init__(self, default: Drawn | None, sign: float, **options: Any) -> None:
        super().__init__(**options)
        self.default = default
        self.sign = sign
        self.pick: Callable[[float, float], float] = max if sign > 0 else min

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Take a trial up, with the rungs that it has passed."""
        super().on_trial_add(tune_controller, trial)
        curve = (trial.last_result or {}).get("curve", ())
        for epoch, score in enumerate(accumulate(curve, self.pick), 1):
            self._trial_info[trial.trial_id].on_result(trial, epoch, self.sign * score)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Decide whether a trial goes on."""
        decision: str = super().on_trial_result(tune_controller, trial, result)
        is_spared = trial.config == self.default
        return ray.tune.schedulers.TrialScheduler.CONTINUE if is_spared else decision


def scheduler(config: TuneConfig, space: Space, epochs: int) -> ray.tune.schedulers.TrialScheduler:
    """Build what `[tune] scheduler` names; `epochs` is the most that a trial may take."""
    return SCHEDULERS[config.scheduler](config, space, epochs)


def initial(config: TuneConfig, space: Space) -> Domains:
    """Return what a population's members are drawn from; other trials are drawn by the search."""
    if config.scheduler != "pbt":
        return {}
    drawn = {parameter.key: _domain(parameter) for parameter in space.parameters}
    return {key: ray.tune.choice(d) if isinstance(d, list) else d for key, d in drawn.items()}


def _asha(config: TuneConfig, space: Space, epochs: int) -> ray.tune.schedulers.TrialScheduler:
    return Halving(
        space.defaults(),
        config.sign,
        time_attr=EPOCH,
        grace_period=min(config.asha.grace_epochs, epochs),
        reduction_factor=config.asha.reduction,
        max_t=epochs,
    )


def _pbt(config: TuneConfig, space: Space, epochs: int) -> ray.tune.schedulers.TrialScheduler:
    return ray.tune.schedulers.PopulationBasedTraining(
        time_attr=EPOCH,
        perturbation_interval=config.pbt.interval_epochs,
        quantile_fraction=config.pbt.quantile,
        hyperparam_mutations={p.key: _domain(p) for p in space.parameters},
        custom_explore_fn=partial(_clamped, space),
    )


def _none(config: TuneConfig, space: Space, epochs: int) -> ray.tune.schedulers.TrialScheduler:
    return ray.tune.schedulers.FIFOScheduler()


SCHEDULERS: dict[str, Callable[[TuneConfig, Space, int], ray.tune.schedulers.TrialScheduler]] = {
    "asha": _asha,
    "pbt": _pbt,
    "none": _none,
}


def _clamped(space: Space, config: dict[str, Any]) -> dict[str, Any]:
    return {**config, **space.clamped(config)}


def _domain(parameter: Parameter) -> Any:
    """Turn a parameter into a Ray Tune domain; a list, of which neighbours are tried, for choices.

    Ray Tune's upper ends of whole numbers are open.
    """
    config = parameter.config
    if config.choice is not None:
        return parameter.labels
    low, high = parameter.range
    if parameter.is_integer:
        draw = ray.tune.lograndint if config.log else ray.tune.randint
        return draw(int(low), int(high) + 1)
    return ray.tune.loguniform(low, high) if config.log else ray.tune.uniform(low, high)
