"""What a stage's replica tells autoscaling: how much of it arrivals take, how long they wait."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from serve.plan import Plan
from serve.pressure import Pressure

TOLD_S = 5.0
"""A rate that was told longer ago than this says nothing of the present."""
FULL, CHEAPER = 0, 1
"""Levels of quality: of all that make a call cheaper, one mean cost is enough."""


@dataclass
class Call:
    """One call, while it is worked on."""

    is_answered: bool = False
    """Whether its stages made what was asked for."""


class Workload:
    """Counts the calls of one replica, whose threads all bundles share.

    A call that gave nothing, as it failed or nobody waits for it any more, has cost what was
    expected, or what it has taken where that is more: forgetting the late ones would make a
    stage that is always late seem idle.

    Args:
        objective_s: time that the replica's stages should take at most.
        parallelism: stages that it computes at a time.
        clock: seconds, never falling.
    """

    def __init__(
        self,
        objective_s: float,
        *,
        parallelism: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.objective_s = objective_s
        self._pressure = Pressure(2, parallelism=parallelism)
        self._level = FULL
        self._clock = clock
        self._told_rate = 0.0
        self._told_s = -math.inf

    def hear(self, rate: float) -> None:
        """Take the requests per second that come to the service, called for here or not."""
        self._told_rate, self._told_s = rate, self._clock()

    @contextmanager
    def counted(self, plan: Plan) -> Iterator[Call]:
        """Count a call for the block, which says whether it was answered."""
        started_s, pressure = self._clock(), self._pressure
        level = self._level = FULL if plan.is_full else CHEAPER
        pressure.arrive(started_s)
        expected_s = pressure.predicted_s(level)
        num_in_flight = pressure.enter()
        call = Call()
        try:
            yield call
        finally:
            pressure.leave()
            now_s = self._clock()
            taken_s = now_s - started_s
            latency_s = taken_s if call.is_answered else max(taken_s, expected_s)
            pressure.learn(level, now_s, latency_s=latency_s, num_in_flight=num_in_flight)

    def stats(self) -> dict[str, float]:
        """Return what autoscaling asks for: see `serve.autoscaling`.

        What a call takes on a free thread is no reason for more replicas, so that only its
        waiting for one counts as pressure.
        """
        now_s = self._clock()
        return {
            "demand": self._pressure.utilization(FULL, now_s),
            "offered": self._offered(now_s),
            "pressure": self._pressure.waiting_s(self._level) / self.objective_s,
        }

    def _offered(self, now_s: float) -> float:
        """Return how many replicas a call for each request would take, 0 where that is unknown."""
        is_known = now_s - self._told_s <= TOLD_S
        return self._told_rate * self._pressure.cost_s(FULL) if is_known else 0.0
