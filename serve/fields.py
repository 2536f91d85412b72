"""The kinds of values in messages: how each is checked, and how OpenAPI describes it."""

import math
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

MAX_ITEMS = 500
MAX_TEXT = 256
MAX_INTEGER = 2**63 - 1
NOT_TEXT = ("Cc", "Cs")
"""Unicode's control characters and halves of surrogate pairs."""
# Years 1970 to 2100: later "milliseconds" are microseconds by mistake.
MAX_TIMESTAMP_MS = 4_102_444_800_000


def _identifier(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("must be an integer or a string")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("must fit into 64 bits")
    if isinstance(value, str):
        _check_text(value)
    return value


def _scalar(value: object) -> object:
    if isinstance(value, str):
        _check_text(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be finite")
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError("must fit into 64 bits")
    elif value is not None and not isinstance(value, int | float):
        raise ValueError("must be a string, a number, true, false or null")
    return value


def _wanted(value: object) -> object:
    values = value if isinstance(value, list) else [value]
    if not 1 <= len(values) <= MAX_ITEMS:
        raise ValueError(f"must be a value or a list of 1 to {MAX_ITEMS} values")
    return [_scalar(one) for one in values]


def _label(value: object) -> object:
    if not isinstance(value, bool | int | float):
        raise ValueError("must be a number, true or false")
    if not abs(value) <= MAX_INTEGER:
        raise ValueError("must be finite")
    return float(value)


def _timestamp(value: object) -> object:
    """Accept milliseconds since 1970 or an ISO 8601 date and time (UTC where it names no zone)."""
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
            zoned = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
            value = math.floor(zoned.timestamp() * 1000)
        except (ValueError, OverflowError):
            raise ValueError("must be milliseconds or an ISO 8601 date and time") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("must be milliseconds or an ISO 8601 date and time")
    if not 0 <= value <= MAX_TIMESTAMP_MS:
        raise ValueError("must lie between the years 1970 and 2100")
    return value


def _check_text(value: str) -> None:
    if not 1 <= len(value) <= MAX_TEXT:
        raise ValueError(f"must have 1 to {MAX_TEXT} characters")
    if any(unicodedata.category(character) in NOT_TEXT for character in value):
        raise ValueError("must not hold control characters or broken Unicode")


TEXT = {
    "type": "string",
    "minLength": 1,
    "maxLength": MAX_TEXT,
    "pattern": "^[^\\u0000-\\u001f\\u007f-\\u009f]*$",
}
INTEGER = {"type": "integer", "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}
NUMBER = {"type": "number"}
BOOLEAN = {"type": "boolean"}
ANY_SCALAR = [TEXT, NUMBER, BOOLEAN, {"type": "null"}]
SEVERAL = {
    "type": "array",
    "minItems": 1,
    "maxItems": MAX_ITEMS,
    "items": {"anyOf": ANY_SCALAR},
}
INSTANT = {"type": "integer", "minimum": 0, "maximum": MAX_TIMESTAMP_MS}


def _one_of(*schemas: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": list(schemas)})


Identifier = Annotated[int | str, BeforeValidator(_identifier), _one_of(INTEGER, TEXT)]
"""A user's or item's id as the data has it; 1 and "1" are the same."""
Count = Annotated[int, Field(ge=1, le=MAX_ITEMS, strict=True)]
Scalar = Annotated[str | int | float | bool | None, BeforeValidator(_scalar), _one_of(*ANY_SCALAR)]
Wanted = Annotated[list[Any], BeforeValidator(_wanted), _one_of(*ANY_SCALAR, SEVERAL)]
Label = Annotated[
    float,
    BeforeValidator(_label),
    _one_of({**NUMBER, "minimum": -MAX_INTEGER, "maximum": MAX_INTEGER}, BOOLEAN),
]
Timestamp = Annotated[
    int, BeforeValidator(_timestamp), _one_of(INSTANT, {"type": "string", "format": "date-time"})
]
Name = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, strict=True)]
