"""Mixed traffic: requests of several kinds, in a random order that repeats."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.arrivals import Outcome
from benchmarks.load import as_bytes

SHARES = {"recommendations": 0.85, "events": 0.10, "bad": 0.03, "looks": 0.02}
EXPECTED = {
    "recommendations": (200, 429),
    "events": (202, 429),
    "bad": (404, 405, 413, 422),
    "looks": (200,),
}
"""Statuses by kind: overload may refuse, nothing may fail."""
POSITIVE_SHARE = 0.3
LENGTH = 4_000
RECOMMENDATIONS, EVENTS = "/v1/recommendations", "/v1/events"
LOOKS = ("/v1/health", "/metrics")


@dataclass(frozen=True)
class Line:
    """One request and its kind."""

    kind: str
    method: str
    path: str
    body: str = ""


@dataclass(frozen=True)
class Script:
    """Requests that are sent in turn, over and over."""

    host: str
    port: int
    lines: tuple[Line, ...]

    def requests(self, first: int) -> Iterator[bytes]:
        """Yield complete requests without end."""
        sent = [
            as_bytes(self.host, line.path, line.body.encode(), method=line.method)
            for line in self.lines
        ]
        return itertools.islice(itertools.cycle(sent), first, None)

    def unexpected(self, outcomes: Sequence[Outcome]) -> list[tuple[str, int]]:
        """Return kind and status of the requests that were not answered as their kind should be."""
        kinds = itertools.cycle(line.kind for line in self.lines)
        found = zip(kinds, outcomes, strict=False)
        return [(kind, one.status) for kind, one in found if one.status not in EXPECTED[kind]]


def mixed_lines(
    user_ids: Sequence[int | str], item_ids: Sequence[int | str], positive: str, seed: int = 0
) -> tuple[Line, ...]:
    """Draw requests of all kinds.

    Args:
        user_ids: who asks.
        item_ids: what events are about.
        positive: the label of liked items.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    kinds = random.choice(list(SHARES), LENGTH, p=list(SHARES.values()))

    def some(values: Sequence[Any]) -> Any:
        return values[int(random.integers(len(values)))]

    def line(kind: str) -> Line:
        if kind == "recommendations":
            return Line(kind, "POST", RECOMMENDATIONS, json.dumps({"user_id": some(user_ids)}))
        if kind == "events":
            event = {"user_id": some(user_ids), "item_id": some(item_ids)}
            is_liked = bool(random.random() < POSITIVE_SHARE)
            event |= {"labels": {positive: 1}} if is_liked else {"type": "impression"}
            return Line(kind, "POST", EVENTS, json.dumps({"events": [event]}))
        if kind == "bad":
            return BAD[int(random.integers(len(BAD)))]
        return Line(kind, "GET", some(LOOKS))

    return tuple(line(str(kind)) for kind in kinds)


BAD = (
    Line("bad", "POST", RECOMMENDATIONS, "{"),
    Line("bad", "POST", RECOMMENDATIONS, json.dumps({"user_id": 1, "num_items": 0})),
    Line("bad", "POST", RECOMMENDATIONS, json.dumps({"user_id": 1, "filters": {"nothing": 1}})),
    Line("bad", "POST", EVENTS, json.dumps({"events": []})),
    Line("bad", "DELETE", RECOMMENDATIONS),
    Line("bad", "GET", "/nowhere"),
)
