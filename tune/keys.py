"""The keys of a config that a sweep may vary, with the fields that check their values."""

from typing import Annotated, Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from cluster.config import hint
from train.config import ModelName, TrainSettings

SECTIONS: dict[ModelName, tuple[str, str]] = {
    "retrieval": ("models.two_tower", "train.retrieval"),
    "ranking": ("models.ranker", "train.ranking"),
}
"""What a model's weights depend on beside the prepared data."""


def keys_of(model: ModelName) -> dict[str, FieldInfo]:
    """Return every key that a sweep of the model may vary."""
    prefixes = tuple(f"{section}." for section in SECTIONS[model])
    return {key: field for key, field in _leaves(TrainSettings).items() if key.startswith(prefixes)}


def field_of(model: ModelName, key: str) -> FieldInfo:
    """Return a key's field.

    Raises:
        ValueError: there is no such key, or it is none of the model's.
    """
    known = keys_of(model)
    if key in known:
        return known[key]
    if key in _leaves(TrainSettings):
        sections = " and ".join(f"[{section}]" for section in SECTIONS[model])
        raise ValueError(f"a sweep of {model} varies only keys of {sections}")
    raise ValueError(f"unknown key; {hint(key, sorted(known))}")


def is_integer(field: FieldInfo) -> bool:
    """Tell whether the field takes whole numbers only."""
    kinds = {field.annotation, *get_args(field.annotation)}
    return int in kinds and float not in kinds


def checked_value(field: FieldInfo, value: Any) -> Any:
    """Return the value as the section would hold it.

    Raises:
        ValueError: the section refuses it.
    """
    annotated: Any = field.annotation
    for constraint in field.metadata:
        annotated = Annotated[annotated, constraint]
    try:
        return TypeAdapter(annotated).validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ValueError(f"{message[:1].lower()}{message[1:]}, got {value!r}") from None


def _leaves(section: type[BaseModel], prefix: str = "") -> dict[str, FieldInfo]:
    found: dict[str, FieldInfo] = {}
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= _leaves(inner, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = field
    return found
