"""The section `[tune]`: what a sweep varies, how it searches, when it stops."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from cluster.config import Section, hint
from train.config import ModelName, TrainSettings
from tune.figures import figures_of
from tune.keys import checked_value, field_of, is_integer

PARAMETER_KEYS = {"low", "high", "log", "step", "choice", "when"}
DEFAULT_TRIALS = 20


class ParameterConfig(Section):
    """`[tune.space."<key>"]`: the values that one key may take, a range or a choice."""

    low: float | None = None
    high: float | None = None
    """The range, both ends included; whole numbers where the key takes no others."""
    log: bool = False
    """Search the exponent: for values whose ratio counts."""
    step: float | None = Field(default=None, gt=0)
    choice: tuple[Any, ...] | None = Field(default=None, min_length=1)
    when: dict[str, Any] = {}
    """Vary it only where other keys have these values (a list: one of them)."""

    @model_validator(mode="after")
    def _is_range_or_choice(self) -> "ParameterConfig":
        if self.choice is not None:
            if self.low is not None or self.high is not None or self.log or self.step:
                raise ValueError("either a choice, or low and high")
            return self
        if self.low is None or self.high is None:
            raise ValueError("needs low and high, or a choice")
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        if self.log and (self.low <= 0 or self.step):
            raise ValueError(f"log needs low above 0 and no step; low = {self.low:g}")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that prove the others: both ends, or every choice."""
        return self.choice if self.choice is not None else (self.low, self.high)


class AshaConfig(Section):
    """`[tune.asha]`: asynchronous successive halving (Li et al., arXiv:1810.05934)."""

    grace_epochs: int = Field(default=1, ge=1)
    """No trial is stopped before."""
    reduction: float = Field(default=3.0, gt=1)
    """Of the trials that reach a rung, one in so many goes on; rungs are so far apart."""


class PbtConfig(Section):
    """`[tune.pbt]`: population based training (Jaderberg et al., arXiv:1711.09846)."""

    interval_epochs: int = Field(default=1, ge=1)
    """Epochs between two chances to take over a better trial's weights."""
    quantile: float = Field(default=0.25, gt=0, le=0.5)
    """Share of the population that is replaced, and share that it is replaced from."""


class TuneConfig(Section):
    """`[tune]`."""

    model: ModelName = "ranking"
    monitor: str | None = None
    """The validation figure to improve; None takes what the training's early stopping watches."""
    mode: Literal["max", "min"] = "max"
    search: Literal["tpe", "random"] = "tpe"
    """Optuna's tree-structured Parzen estimator, or independent draws."""
    scheduler: Literal["asha", "pbt", "none"] = "asha"
    """Who ends hopeless trials early, if anybody."""
    trials: int | None = Field(default=None, ge=1)
    """Configs to try, the config's own values first; with PBT the population."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Time after which the sweep ends with what it has; a resumed sweep counts on."""
    concurrent_trials: int | None = Field(default=None, ge=1)
    """Trials at a time; None takes as many as the cluster has room for."""
    seed: int = Field(default=0, ge=0)
    asha: AshaConfig = AshaConfig()
    pbt: PbtConfig = PbtConfig()
    space: dict[str, ParameterConfig] = {}

    @field_validator("space", mode="before")
    @classmethod
    def _flat_space(cls, value: Any) -> Any:
        return _flattened(value) if isinstance(value, Mapping) else value

    @property
    def sign(self) -> float:
        """What makes a higher figure the better one."""
        return 1.0 if self.mode == "max" else -1.0

    @property
    def num_trials(self) -> int | None:
        """Trials to run; None where only the time limits them."""
        return DEFAULT_TRIALS if self.trials is None and self.max_minutes is None else self.trials


class TuneSettings(TrainSettings):
    """What `python -m tune` reads."""

    tune: TuneConfig = Field(default_factory=TuneConfig)

    @model_validator(mode="after")
    def _space_fits(self) -> "TuneSettings":
        tune = self.tune
        if tune.model not in self.train.models:
            raise ValueError(f"tune.model: [train] models has no {tune.model!r}")
        if not tune.space:
            raise ValueError("tune.space: names no key to vary")
        for key, parameter in tune.space.items():
            _check_parameter(tune.model, key, parameter)
        known = figures_of(self, tune.model)
        if tune.monitor is not None and tune.monitor not in known:
            raise ValueError(
                f"tune.monitor: no such figure: {tune.monitor!r}; {hint(tune.monitor, known)}"
            )
        if tune.scheduler == "pbt":
            _check_pbt(tune)
        return self


def _check_parameter(model: ModelName, key: str, parameter: ParameterConfig) -> None:
    try:
        field = field_of(model, key)
        for value in parameter.ends:
            if parameter.choice is None and is_integer(field) and value != int(value):
                raise ValueError(f"takes whole numbers, got {value!r}")
            checked_value(field, value)
        for condition in parameter.when:
            field_of(model, condition)
    except ValueError as error:
        raise ValueError(f"tune.space.{key}: {error}") from None


def _check_pbt(tune: TuneConfig) -> None:
    """Refuse what a running training cannot change."""
    if tune.num_trials is None or tune.num_trials < 2:
        raise ValueError(f"tune.trials: pbt needs a population, got {tune.num_trials}")
    for key, parameter in tune.space.items():
        section, _, name = key.rpartition(".")
        is_shape = section.startswith("models.") and not name.endswith("dropout")
        if is_shape or name in {"epochs", "seed"}:
            raise ValueError(f"tune.space.{key}: pbt cannot change it during a training")
        if parameter.when:
            raise ValueError(f"tune.space.{key}: pbt knows no conditions")


def _flattened(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested tables, as `--set tune.space.train.ranking.learning_rate.low=1e-4` makes them."""
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        key = f"{prefix}{name}"
        inside = _flattened(inner, f"{key}.") if _is_table(inner) else {key: inner}
        for found, parameter in inside.items():
            flat[found] = _merged(flat.get(found), parameter)
    return flat


def _is_table(value: Any) -> bool:
    """Tell a part of a key's path from what is said of the key."""
    if not isinstance(value, Mapping) or PARAMETER_KEYS.intersection(value):
        return False
    return bool(value) and all(isinstance(inner, Mapping) for inner in value.values())


def _merged(old: Any, new: Any) -> Any:
    return {**old, **new} if isinstance(old, Mapping) and isinstance(new, Mapping) else new
