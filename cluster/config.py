"""TOML or JSON to frozen, checked settings; each folder owns the models of its sections."""

import difflib
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from cluster.errors import ConfigError

SECTIONS = (
    "recommender",
    "storage",
    "cluster",
    "dataset",
    "tasks",
    "features",
    "models",
    "train",
    "tune",
    "retrieval",
    "serve",
)
UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def parse_duration(value: object) -> object:
    """Turn "90s", "1d", "0.5h" into milliseconds; numbers are milliseconds already."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    unit = next((u for u in sorted(UNITS_MS, key=len, reverse=True) if text.endswith(u)), "")
    try:
        return round(float(text.removesuffix(unit)) * UNITS_MS[unit])
    except (KeyError, ValueError):
        units = ", ".join(UNITS_MS)
        raise ValueError(f'{value!r} is not a duration such as "1d" (units: {units})') from None


Duration = Annotated[int, BeforeValidator(parse_duration)]
"""Milliseconds, written as "500ms", "2h" or "1d"."""


class Section(BaseModel):
    """A frozen part of a config in which unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class StorageConfig(Section):
    """`[storage]`: where all state lies; a path or any URI that pyarrow or fsspec opens."""

    root: str = "artifacts"


class ClusterConfig(Section):
    """`[cluster]`: the Ray cluster to join, or how large a local one to start."""

    address: str | None = None
    num_cpus: int | None = None
    object_store_mb: int = 512
    dashboard: bool = False


class Settings(BaseModel):
    """What every command reads; subclasses add the sections their folder may see."""

    model_config = ConfigDict(frozen=True, extra="ignore", validate_default=True)

    recommender: str
    storage: StorageConfig = StorageConfig()
    cluster: ClusterConfig = ClusterConfig()


S = TypeVar("S", bound=Settings)


def load(settings: type[S], path: Path, overrides: Sequence[str] = ()) -> S:
    """Read a TOML file, apply `section.key=value` overrides and check it.

    Raises:
        ConfigError: one line with the file, the key and the value.
    """
    return checked(settings, read(path, overrides), path)


def read(path: Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a TOML or JSON file and apply overrides; only the sections' names are checked.

    Raises:
        ConfigError: one line with the file.
    """
    values = _parsed(path)
    for override in overrides:
        _apply(values, override)
    for name in values:
        if name not in SECTIONS:
            raise ConfigError(f"{path}: {_unknown(name, SECTIONS)}")
    return values


def checked(settings: type[S], values: dict[str, Any], path: Path) -> S:
    """Turn what `read` returned into settings.

    Raises:
        ConfigError: one line with the file, the key and the value.
    """
    try:
        return settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_first_problem(settings, error)}") from None


def toml_value(text: str) -> Any:
    """Return what a text means in TOML; the text itself where it means nothing."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _parsed(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, not a config file") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"{path}: not valid {kind}: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds no sections")
    return values


def _apply(values: dict[str, Any], override: str) -> None:
    key, sign, text = override.partition("=")
    parts = key.strip().split(".")
    if not sign or not all(parts):
        raise ConfigError(f"--set {override!r}: expected section.key=value")
    target: Any = values
    for part in parts[:-1]:
        target = _child(target, part, override)
    target[parts[-1]] = toml_value(text.strip())


def _child(target: Any, part: str, override: str) -> Any:
    if isinstance(target, list) and part.isdigit() and int(part) < len(target):
        return target[int(part)]
    child = target.setdefault(part, {}) if isinstance(target, dict) else None
    if not isinstance(child, dict | list):
        raise ConfigError(f"--set {override!r}: {part!r} holds no keys")
    return child


def _first_problem(settings: type[BaseModel], error: ValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return _unknown(where, _known_keys(settings, problem["loc"][:-1]))
    if problem["type"] == "missing":
        return f"{where}: missing"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if isinstance(problem["input"], dict | BaseModel):  # of a whole section: the message says it
        return f"{where}: {message}" if where else message
    return f"{where}: {message}, got {problem['input']!r}"


def _unknown(where: str, known: Sequence[str]) -> str:
    return f"{where}: unknown key; {hint(where.rpartition('.')[2], known)}"


def hint(name: str, known: Sequence[str]) -> str:
    """Say what a mistyped name may have meant."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _known_keys(model: Any, loc: Sequence[int | str]) -> list[str]:
    for part in loc:
        if isinstance(part, str) and part in getattr(model, "model_fields", {}):
            model = _section_of(model.model_fields[part].annotation)
    return sorted(getattr(model, "model_fields", {}))


def _section_of(annotation: Any) -> Any:
    """Find the section inside annotations such as `tuple[TaskConfig, ...]` or `X | None`."""
    arguments = getattr(annotation, "__args__", ())
    return next((a for a in arguments if hasattr(a, "model_fields")), annotation)
