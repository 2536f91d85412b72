"""What clients saw of a kill: requests lost, and the longest time without an answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.arrivals import Outcome

OK = 200
TOO_MANY = 429


@dataclass(frozen=True)
class Damage:
    """The row of one kill; times before it are its control."""

    victim: str
    sent: int
    lost: int
    """Without an answer, or with an error of the server."""
    refused: int
    """With 429."""
    degraded: int
    usual_gap_s: float
    """Longest time without a good answer before the kill."""
    longest_gap_s: float
    """The same after it, to the end of the traffic where no good answer comes any more."""
    degraded_s: float
    """From the first degraded answer after it to the last."""
    p50_ms: float
    worst_ms: float
    """Slowest good answer."""

    @classmethod
    def of(cls, victim: str, outcomes: Sequence[Outcome], killed_s: float) -> "Damage":
        """Sum up; `killed_s` is the instant of the kill since the start."""
        good = [one for one in outcomes if one.status == OK]
        ended = np.sort([one.due_s + one.latency_ms / 1000 for one in good])
        before, after = ended[ended < killed_s], ended[ended >= killed_s]
        degraded = [one.due_s for one in good if one.degraded and one.due_s >= killed_s]
        latencies = [one.latency_ms for one in good]
        refused = sum(one.status == TOO_MANY for one in outcomes)
        return cls(
            victim=victim,
            sent=len(outcomes),
            lost=len(outcomes) - len(good) - refused,
            refused=refused,
            degraded=sum(one.degraded is not None for one in good),
            usual_gap_s=_longest_gap(before),
            longest_gap_s=_longest_gap(np.concatenate([before[-1:], after, _silence(outcomes)])),
            degraded_s=round(degraded[-1] - degraded[0], 2) if degraded else 0.0,
            p50_ms=round(float(np.median(latencies)), 1) if latencies else 0.0,
            worst_ms=round(max(latencies, default=0.0), 1),
        )

    def row(self) -> list[Any]:
        """Return the values for a table."""
        return list(vars(self).values())


def _silence(outcomes: Sequence[Outcome]) -> list[float]:
    """Return when the last request was due, if that had no good answer."""
    last = max(outcomes, key=lambda one: one.due_s)
    return [] if last.status == OK else [last.due_s]


def _longest_gap(instants: np.ndarray[Any, Any]) -> float:
    return round(float(np.diff(np.sort(instants)).max(initial=0.0)), 2)
