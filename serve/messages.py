"""What goes over HTTP: requests, events and answers, bounded and checked field by field."""

import math
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from cluster.errors import InputError
from serve.explanation import Explanation, Verdict

MAX_ITEMS = 500
MAX_EXCLUDED = 10_000
MAX_ASKED = 100
MAX_EVENTS = 1_000
MAX_TEXT = 256
MAX_INTEGER = 2**63 - 1
NOT_TEXT = ("Cc", "Cs")
"""Unicode's control characters and halves of surrogate pairs."""
# Years 1970 to 2100: later "milliseconds" are microseconds by mistake.
MAX_TIMESTAMP_MS = 4_102_444_800_000


class RequestError(InputError):
    """A request that cannot be answered; `path` names the field, as in a validation error."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"{'.'.join(str(part) for part in self.path)}: {self.message}"


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


def _schema(*types: str) -> WithJsonSchema:
    return WithJsonSchema({"type": list(types)})


Identifier = Annotated[int | str, BeforeValidator(_identifier), _schema("integer", "string")]
"""A user's or item's id as the data has it; 1 and "1" are the same."""
Scalar = Annotated[
    str | int | float | bool | None,
    BeforeValidator(_scalar),
    _schema("string", "number", "boolean", "null"),
]
Wanted = Annotated[
    list[Any], BeforeValidator(_wanted), _schema("string", "number", "boolean", "array")
]
Label = Annotated[float, BeforeValidator(_label), _schema("number", "boolean")]
Timestamp = Annotated[int, BeforeValidator(_timestamp), _schema("integer", "string")]
Name = Annotated[str, Field(min_length=1, max_length=MAX_TEXT, strict=True)]


class Message(BaseModel):
    """A frozen message in which unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Message):
    """The body of `POST /v1/recommendations`."""

    user_id: Identifier
    num_items: Annotated[int, Field(ge=1, le=MAX_ITEMS, strict=True)] = 20
    context: Annotated[dict[Name, Scalar], Field(max_length=64)] = {}
    """What is known of the situation, by context column; columns that no model reads are
    ignored, so that a client may send what the next version will read."""
    exclude: Annotated[list[Identifier], Field(max_length=MAX_EXCLUDED)] = []
    filters: Annotated[dict[Name, Wanted], Field(max_length=16)] = {}
    """Catalogue column to the value or values, one of which an item must have."""
    explain: Annotated[bool, Field(strict=True)] = False
    """Tell of each item how it came into the answer."""
    why_not: Annotated[list[Identifier], Field(max_length=MAX_ASKED)] = []
    """With `explain`: items to tell of at which stage they left, and why."""

    @field_validator("why_not")
    @classmethod
    def _is_explained(cls, why_not: list[int | str], info: ValidationInfo) -> list[int | str]:
        if why_not and info.data.get("explain") is False:
            raise ValueError("needs explain: true")
        return why_not


class Item(Message):
    """One recommended item."""

    item_id: int | str
    score: float
    predictions: dict[str, float | None]
    """By task; None where the ranker gave no number."""
    source: str
    title: str | None = None
    reasons: list[str] | None = None
    """With `explain`: why this item, in words."""
    explanation: Explanation | None = None
    """With `explain`: how it came through the stages."""


class Answer(Message):
    """The answer to a `Request`."""

    request_id: str
    bundle: str
    items: list[Item]
    degraded: str | None = None
    """Which stages did not do their part, such as "rank late"; None when all did."""
    timings_ms: dict[str, float]
    why_not: list[Verdict] | None = None
    """What became of each item that the request asked about."""


class Event(BaseModel):
    """One impression with what is known of its outcome.

    Labels are further fields, named by task or by label column (`"click": 1`), as in the events
    table, or lie in `labels`. `type` is short for one label of 1; "impression" says that the
    outcome is not known yet, "skip" that the item was passed over.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Label]

    user_id: Identifier
    item_id: Identifier
    timestamp: Timestamp | None = None
    """Milliseconds since 1970 or ISO 8601; the time of arrival where it is missing or later."""
    type: Name | None = None
    labels: Annotated[dict[Name, Label], Field(max_length=64)] = {}
    request_id: Name | None = None
    """The answer that showed the item."""


class Events(Message):
    """The body of `POST /v1/events`."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)]


class Accepted(Message):
    """The answer to `Events`."""

    accepted: int
