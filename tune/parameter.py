"""One parameter of a sweep: how its values are drawn, written down and put into a config."""

import json
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic.fields import FieldInfo

from tune.config import ParameterConfig
from tune.keys import checked_value, is_integer

Raw = float | int | str
"""A value as the search knows it: a number, or the JSON text of a choice."""


class Suggester(Protocol):
    """The part of `optuna.Trial` that draws values."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Draw from a range."""
        ...

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Draw a whole number from a range."""
        ...

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        """Draw from a list."""
        ...


@dataclass(frozen=True)
class Parameter:
    """A key and the values that it may take.

    Attributes:
        key: of the config.
        config: the range or choice.
        is_integer: whether the key takes whole numbers only.
        default: the config's own value, None where the space does not hold it.
    """

    key: str
    config: ParameterConfig
    is_integer: bool
    default: Raw | None

    @classmethod
    def of(cls, key: str, config: ParameterConfig, field: FieldInfo, value: Any) -> "Parameter":
        """Make it of its settings; `value` is the key's in the config without the sweep."""
        return cls(key, config, is_integer(field), _raw(config, field, value))

    @property
    def labels(self) -> list[str]:
        """The choices as the search knows them."""
        assert self.config.choice is not None
        return [json.dumps(value) for value in self.config.choice]

    @property
    def is_log(self) -> bool:
        """Whether the exponent is searched."""
        return self.config.log

    def suggest(self, trial: Suggester) -> Raw:
        """Draw a value."""
        config = self.config
        if config.choice is not None:
            label: str = trial.suggest_categorical(self.key, self.labels)
            return label
        low, high = self.range
        if self.is_integer:
            step = int(config.step or 1)
            return trial.suggest_int(self.key, int(low), int(high), step=step, log=config.log)
        return trial.suggest_float(self.key, low, high, step=config.step, log=config.log)

    def value(self, raw: Raw) -> Any:
        """Return what the config holds for a drawn value."""
        return json.loads(raw) if isinstance(raw, str) else raw

    def clamped(self, raw: Raw) -> Raw:
        """Return a number that was multiplied at random to the range."""
        if isinstance(raw, str):
            return raw
        low, high = self.range
        inside = min(max(raw, low), high)
        return round(inside) if self.is_integer else inside

    @property
    def range(self) -> tuple[float, float]:
        """Both ends."""
        assert self.config.low is not None
        assert self.config.high is not None
        return self.config.low, self.config.high


def _raw(config: ParameterConfig, field: FieldInfo, value: Any) -> Raw | None:
    """Find a value of the config in the space."""
    if config.choice is not None:
        same = (c for c in config.choice if _json(checked_value(field, c)) == _json(value))
        return next((json.dumps(choice) for choice in same), None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    assert config.low is not None
    assert config.high is not None
    is_on_grid = not config.step or ((value - config.low) / config.step).is_integer()
    return value if config.low <= value <= config.high and is_on_grid else None


def _json(value: Any) -> str:
    return json.dumps(value, default=str)
