"""What clients saw before, during and after each switch of bundles."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.arrivals import Outcome
from benchmarks.load import OK


@dataclass(frozen=True)
class Switch:
    """The row of one switch; instants are seconds since the traffic began.

    Attributes:
        seconds: from the publication to the first answer of the new bundle.
        overlap_ms: from that to the last answer of the old bundle, which was in flight.
    """

    seconds: float
    overlap_ms: float
    requests: int
    failed: int
    degraded: int
    p50_ms_before: float
    p99_ms_before: float
    p50_ms_during: float
    p99_ms_during: float
    p50_ms_after: float
    p99_ms_after: float


@dataclass(frozen=True)
class Instants:
    """When what happened.

    Attributes:
        begun_s: the quiet time before began.
        published_s: the registry was told.
        first_new_s: the first answer of the new bundle came.
        last_old_s: the last one of the old bundle.
        ended_s: the quiet time after ended.
    """

    begun_s: float
    published_s: float
    first_new_s: float
    last_old_s: float
    ended_s: float


def sum_up(outcomes: Sequence[Outcome], at: Instants) -> Switch:
    """Sum up one switch."""
    ours = [one for one in outcomes if at.begun_s <= one.due_s < at.ended_s]
    switched_s = max(at.first_new_s, at.last_old_s)
    before = _latencies(ours, at.begun_s, at.published_s)
    during = _latencies(ours, at.published_s, switched_s)
    after = _latencies(ours, switched_s, at.ended_s)
    return Switch(
        seconds=round(at.first_new_s - at.published_s, 2),
        overlap_ms=round(1000 * max(at.last_old_s - at.first_new_s, 0.0), 1),
        requests=len(ours),
        failed=sum(one.status != OK for one in ours),
        degraded=sum(one.degraded is not None for one in ours),
        **{
            f"{name}_{when}": value
            for when, latencies in (("before", before), ("during", during), ("after", after))
            for name, value in _percentiles(latencies).items()
        },
    )


def _latencies(outcomes: Sequence[Outcome], begin_s: float, end_s: float) -> list[float]:
    return [o.latency_ms for o in outcomes if begin_s <= o.due_s < end_s and o.status == OK]


def _percentiles(latencies: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(latencies, (50, 99)) if latencies else (0.0, 0.0)
    return {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1)}
