"""The search space: which parameters a trial draws, and the settings that come out."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune.config import TuneSettings
from tune.keys import field_of
from tune.parameter import Parameter, Raw, Suggester

Drawn = dict[str, Raw]
"""A trial's parameters as the search knows them."""


@dataclass(frozen=True)
class Space:
    """The parameters in an order in which conditions come before what depends on them.

    Attributes:
        parameters: what is varied.
        base: the config's own value of every key that is varied or asked for by a condition.
    """

    parameters: tuple[Parameter, ...]
    base: Mapping[str, Any]

    @classmethod
    def of(cls, settings: TuneSettings) -> "Space":
        """Make it of `[tune.space]`.

        Raises:
            ValueError: conditions depend on each other in a circle.
        """
        configs = settings.tune.space
        dump = settings.model_dump(mode="json")
        asked = {key for config in configs.values() for key in config.when}
        base = {key: _at(dump, key) for key in [*configs, *sorted(asked)]}
        model = settings.tune.model
        return cls(
            tuple(
                Parameter.of(key, configs[key], field_of(model, key), base[key])
                for key in _ordered({key: config.when for key, config in configs.items()})
            ),
            base,
        )

    def __call__(self, trial: Suggester) -> None:
        """Draw what applies; Optuna remembers what it was asked."""
        drawn: Drawn = {}
        for parameter in self.parameters:
            if self._applies(parameter, drawn):
                drawn[parameter.key] = parameter.suggest(trial)

    def defaults(self) -> Drawn | None:
        """Return the config's own values as if drawn; None where the space does not hold them."""
        drawn: Drawn = {}
        for parameter in self.parameters:
            if not self._applies(parameter, drawn):
                continue
            if parameter.default is None:
                return None
            drawn[parameter.key] = parameter.default
        return drawn

    def values(self, drawn: Mapping[str, Raw]) -> dict[str, Any]:
        """Return the config's values for what was drawn."""
        return {p.key: p.value(drawn[p.key]) for p in self.parameters if p.key in drawn}

    def clamped(self, drawn: Drawn) -> Drawn:
        """Return drawn values, changed at random, to their ranges."""
        return {p.key: p.clamped(drawn[p.key]) for p in self.parameters if p.key in drawn}

    def _applies(self, parameter: Parameter, drawn: Drawn) -> bool:
        held = {**self.base, **self.values(drawn)}
        return all(held[key] in _listed(wanted) for key, wanted in parameter.config.when.items())


def applied(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's raw values with keys changed."""
    result = copy.deepcopy(dict(values))
    for key, value in changes.items():
        *sections, name = key.split(".")
        target = result
        for section in sections:
            target = target.setdefault(section, {})
        target[name] = value
    return result


def short_names(model_keys: list[str]) -> dict[str, str]:
    """Return a name for every key, its last part where that says enough."""
    last = [key.rpartition(".")[2] for key in model_keys]
    return {
        key: name if last.count(name) == 1 else key
        for key, name in zip(model_keys, last, strict=True)
    }


def _at(dump: Mapping[str, Any], key: str) -> Any:
    value: Any = dump
    for part in key.split("."):
        value = value[part]
    return value


def _listed(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _ordered(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sort keys so that each comes after those that its condition asks for."""
    done: list[str] = []
    while len(done) < len(conditions):
        ready = [
            key
            for key, when in conditions.items()
            if key not in done and all(asked in done or asked not in conditions for asked in when)
        ]
        if not ready:
            circle = ", ".join(key for key in conditions if key not in done)
            raise ValueError(f"tune.space: conditions in a circle: {circle}")
        done += ready
    return done
