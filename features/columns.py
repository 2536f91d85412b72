"""Which columns are inputs and of which kind: from Arrow types, with the config's overrides."""

import difflib
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from cluster.errors import ConfigError, InputError
from features.config import FeaturesConfig, Kind, Owner, TaskConfig

CLOCK = ("hour", "weekday")
"""Context features that come from the instant of the request."""
NEVER = {
    "user": {"user_id"},
    "item": {"item_id", "title", "published_at"},
    "context": {
        "user_id",
        "item_id",
        "timestamp",
        "split",
        "request_id",
        "position",
        "propensity",
    },
}
"""Columns with a fixed meaning that are no inputs by themselves."""


class Column(NamedTuple):
    """One input before encoding; `owner` "context" columns are event columns or CLOCK."""

    owner: Owner
    name: str
    kind: Kind

    @property
    def key(self) -> str:
        """The name by which configs and vocabularies know it."""
        return f"{self.owner}.{self.name}"


class Schemas(NamedTuple):
    """The Arrow columns of the three tables; no columns where a table is absent."""

    events: pa.Schema
    items: pa.Schema
    users: pa.Schema


def infer_columns(
    schemas: Schemas, config: FeaturesConfig, tasks: Sequence[TaskConfig], *, has_time: bool
) -> tuple[Column, ...]:
    """Choose the inputs: all attributes of users and items, and the context of events.

    string, bool = categorical; list<string> = multi-valued; number = numeric; timestamps are
    ignored. The item's own id is the first item column.

    Raises:
        ConfigError: an override or context name that does not exist or does not fit.
    """
    _check_names(schemas, config, tasks)
    columns = [*_attributes("user", schemas.users, config)]
    if config.columns.get("item.item_id") != "ignore":
        columns.append(Column("item", "item_id", "categorical"))
    columns += _attributes("item", schemas.items, config)
    columns += _context(schemas.events, config, tasks)
    if has_time:
        columns += [
            Column("context", name, "categorical")
            for name in CLOCK
            if config.columns.get(f"context.{name}") != "ignore"
        ]
    return tuple(columns)


def _attributes(owner: Owner, schema: pa.Schema, config: FeaturesConfig) -> list[Column]:
    columns = []
    for field in schema:
        if field.name in NEVER[owner]:
            continue
        kind = _kind(owner, field, config)
        if kind is not None:
            columns.append(Column(owner, field.name, kind))
    return columns


def _context(
    schema: pa.Schema, config: FeaturesConfig, tasks: Sequence[TaskConfig]
) -> list[Column]:
    labels = {task.column for task in tasks}
    columns = []
    for field in schema:
        if field.name in NEVER["context"] or field.name in labels:
            continue
        is_named = field.name in config.context or f"context.{field.name}" in config.columns
        kind = _kind("context", field, config) if is_named or _is_text(field.type) else None
        if kind == "multi":
            raise ConfigError(f"features.context: {field.name!r} is multi-valued, not supported")
        if kind is not None:
            columns.append(Column("context", field.name, kind))
    return columns


def _kind(owner: Owner, field: pa.Field, config: FeaturesConfig) -> Kind | None:
    """Return a column's kind; None leaves it out."""
    natural = _natural_kind(field.type)
    wanted = config.columns.get(f"{owner}.{field.name}", natural)
    if wanted is None or wanted == "ignore":
        return None
    is_list = natural == "multi"
    if (
        natural is None
        or (wanted == "multi") != is_list
        or (wanted == "numeric" and natural != "numeric" and not pa.types.is_boolean(field.type))
    ):
        raise ConfigError(
            f"features.columns: {owner}.{field.name} is {field.type} and cannot be {wanted!r}"
        )
    return wanted


def _natural_kind(kind: pa.DataType) -> Kind | None:
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "numeric"
    if _is_text(kind) or pa.types.is_boolean(kind):
        return "categorical"
    if (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type):
        return "multi"
    return None


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _check_names(schemas: Schemas, config: FeaturesConfig, tasks: Sequence[TaskConfig]) -> None:
    labels = {task.column for task in tasks}
    inputs = [n for n in schemas.events.names if n not in NEVER["context"] and n not in labels]
    for name in config.context:
        if name in NEVER["context"] or name in labels:
            raise ConfigError(f"features.context: {name!r} is never an input")
        if name not in inputs:
            raise ConfigError(f"features.context: no event column {name!r}{_hint(name, inputs)}")
    known = [f"context.{name}" for name in (*inputs, *CLOCK)]
    known += [f"user.{name}" for name in schemas.users.names if name not in NEVER["user"]]
    known += [f"item.{name}" for name in schemas.items.names if name not in NEVER["item"]]
    for key in config.columns:
        if key not in (*known, "item.item_id"):
            raise ConfigError(f"features.columns: no column {key!r}{_hint(key, known)}")
    for name in CLOCK:
        if name in inputs and (_is_text(schemas.events.field(name).type) or name in config.context):
            raise InputError(f"events.{name}: this name is kept for the request's own {name}")


def _hint(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; has {', '.join(known) or 'none'}"
