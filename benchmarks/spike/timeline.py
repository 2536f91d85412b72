"""What clients saw, second by second, and what it comes to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.arrivals import LOST, Outcome, Phase

OK, REFUSED, FIRST_5XX = 200, 429, 500
SETTLED_S = 5
"""Quality has recovered with the first of so many seconds of full answers."""


@dataclass(frozen=True)
class Second:
    """The requests that were due within one second."""

    at_s: int
    sent: int
    full: int
    refused: int
    failed: int
    """Answered with 5xx, or not at all."""
    degraded: dict[str, int]
    p50_ms: float | None
    p99_ms: float | None


def seconds(outcomes: Sequence[Outcome]) -> list[Second]:
    """Return every second from the first to the last request."""
    last = int(max((one.due_s for one in outcomes), default=-1))
    by_second: list[list[Outcome]] = [[] for _ in range(last + 1)]
    for one in outcomes:
        by_second[int(one.due_s)].append(one)
    return [_second(at_s, due) for at_s, due in enumerate(by_second)]


def summary(outcomes: Sequence[Outcome], phases: Sequence[Phase]) -> dict[str, Any]:
    """Return the totals over all three phases, and of each.

    `p99_ms` is that of all answers; refusals have their own. `recovery_s` counts from the spike's
    end, `full_again_s` from its beginning.
    """
    ends = np.cumsum([phase.seconds for phase in phases]).tolist()
    parts = [
        [one for one in outcomes if end - phase.seconds <= one.due_s < end]
        for phase, end in zip(phases, ends, strict=True)
    ]
    names = ("before", "spike", "after")
    return {
        **_totals(outcomes),
        "recovery_s": recovery_s(seconds(outcomes), int(ends[1])),
        "full_again_s": _full_again_s(seconds(outcomes), int(ends[0])),
        "phases": [
            {"phase": name, "rate": phase.rate, "seconds": phase.seconds, **_totals(part)}
            for name, phase, part in zip(names, phases, parts, strict=True)
        ],
    }


def recovery_s(timeline: Sequence[Second], end_s: int) -> int | None:
    """Return the seconds from the spike's end until answers are full again, and stay so."""
    for start_s in range(end_s, len(timeline) - SETTLED_S + 1):
        if all(one.full == one.sent for one in timeline[start_s : start_s + SETTLED_S]):
            return start_s - end_s
    return None


def _full_again_s(timeline: Sequence[Second], start_s: int) -> int | None:
    """Return the seconds from the spike's beginning until it no longer degrades answers."""
    worse = (one.at_s for one in timeline[start_s:] if one.full < one.sent)
    first_s = next(worse, start_s)
    recovered_s = recovery_s(timeline, first_s)
    return None if recovered_s is None else first_s + recovered_s - start_s


def _totals(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Count outcomes; shares are of all requests."""
    sent = max(len(outcomes), 1)
    reasons = _reasons(outcomes)
    refused = [one.latency_ms for one in outcomes if one.status == REFUSED]
    return {
        "sent": len(outcomes),
        "status_5xx": sum(one.status >= FIRST_5XX for one in outcomes),
        "lost": sum(one.status == LOST for one in outcomes),
        **_percentiles([one.latency_ms for one in outcomes if one.status == OK]),
        "refused_p99_ms": _percentiles(refused)["p99_ms"],
        "degraded_share": round(reasons.total() / sent, 4),
        "refused_share": round(len(refused) / sent, 4),
        "degraded": {reason: round(number / sent, 4) for reason, number in reasons.items()},
    }


def _second(at_s: int, due: Sequence[Outcome]) -> Second:
    latencies = [one.latency_ms for one in due if one.status == OK]
    return Second(
        at_s=at_s,
        sent=len(due),
        full=sum(one.status == OK and one.degraded is None for one in due),
        refused=sum(one.status == REFUSED for one in due),
        failed=sum(one.status == LOST or one.status >= FIRST_5XX for one in due),
        degraded=dict(_reasons(due)),
        **_percentiles(latencies),
    )


def _reasons(outcomes: Sequence[Outcome]) -> Counter[str]:
    answered = (one.degraded for one in outcomes if one.status == OK)
    return Counter(reason for reason in answered if reason)


def _percentiles(latencies: Sequence[float]) -> dict[str, Any]:
    if not latencies:
        return {"p50_ms": None, "p99_ms": None}
    p50, p99 = np.percentile(latencies, (50, 99)).round(1).tolist()
    return {"p50_ms": p50, "p99_ms": p99}
