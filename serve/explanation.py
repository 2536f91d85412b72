"""What an answer tells about how it came about: of the items shown, and of those asked about."""

from dataclasses import dataclass, field
from typing import Literal

Reason = Literal[
    "unknown",
    "withdrawn",
    "excluded",
    "seen",
    "filtered",
    "not_retrieved",
    "rank",
    "cap",
    "diversity",
    "degraded",
    "shown",
]
"""Why an item is not in the slate; "shown" where it is."""


@dataclass(frozen=True)
class Offer:
    """A source that had the item, with its rank (from 1) and score there."""

    source: str
    rank: int
    score: float


@dataclass(frozen=True)
class Step:
    """An item's rank before and after a stage, from 1; it entered the request where before is None.

    The rank after ranking is by the value that re-ranking weighs.
    """

    stage: str
    before: int | None
    after: int


@dataclass(frozen=True)
class Choice:
    """Why re-ranking put the item where it is.

    An item is chosen for `relevance` less `penalty`: with the weight d of
    `serve.rerank.diversity`, (1 - d) of its value scaled to 0..1 over the candidates, and d of
    its cosine with `like`, the item above that it resembles most.
    """

    value: float
    relevance: float
    penalty: float
    like: int | str | None = None


@dataclass(frozen=True)
class Explanation:
    """How an item came into the slate.

    `offers` are in the sources' order of precedence; `steps` and `choice` are missing for popular
    items that stand in for stages that failed.
    """

    offers: tuple[Offer, ...]
    steps: tuple[Step, ...] = ()
    choice: Choice | None = None


@dataclass(frozen=True)
class Verdict:
    """At which stage an item that was asked about left the request, and why.

    `stage` is None for an item that is shown. `steps` and `predictions` are what is known of an
    item that came as far as re-ranking.
    """

    item_id: int | str
    stage: str | None
    reason: Reason
    detail: str
    steps: tuple[Step, ...] = ()
    predictions: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """An item that was asked about and has not left: its id as it was asked, and its row."""

    item_id: int | str
    row: int
