"""What goes over HTTP: requests, events and answers, bounded and checked field by field."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from cluster.errors import InputError
from serve.explanation import Explanation, Verdict
from serve.fields import Count, Identifier, Label, Name, Scalar, Timestamp, Wanted

MAX_EXCLUDED = 10_000
MAX_ASKED = 100
MAX_EVENTS = 1_000


class RequestError(InputError):
    """A request that cannot be answered; `path` names the field, as in a validation error."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        super().__init__(path, message)
        self.path = path
        self.message = message

    def __str__(self) -> str:
        return f"{'.'.join(str(part) for part in self.path)}: {self.message}"


def _is_absent(value: object) -> bool:
    """Tell whether a field that is only there on demand is to be left out."""
    return value is None


class Message(BaseModel):
    """A frozen message in which unknown fields are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Request(Message):
    """The body of `POST /v1/recommendations`."""

    user_id: Identifier
    num_items: Count = 20
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
    explanation: Explanation | None = Field(default=None, exclude_if=_is_absent)
    """With `explain`: how it came through the stages."""


class Answer(Message):
    """The answer to a `Request`."""

    request_id: str
    bundle: str
    items: list[Item]
    degraded: str | None = None
    """Which stages did not do their part, such as "rank late"; None when all did."""
    timings_ms: dict[str, float]
    why_not: list[Verdict] | None = Field(default=None, exclude_if=_is_absent)
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
    event_id: Name | None = None
    """A user's event with the id of an earlier one is that event again, and not counted twice."""


class Events(Message):
    """The body of `POST /v1/events`."""

    events: Annotated[list[Event], Field(min_length=1, max_length=MAX_EVENTS)]


class Upsert(Message):
    """The body of `PUT /v1/items/{item_id}`, which may be missing: the item is shown again."""


class Accepted(Message):
    """The answer to `Events`."""

    accepted: int
