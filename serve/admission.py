"""Decides on arrival how a request is answered: fully, more cheaply, from memory, or not at all."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from serve.ladder import Ladder, OverloadConfig, told
from serve.plan import Plan
from serve.pressure import LoopLag, Pressure

RETRY_AFTER_S = 1
LEAST_BUDGET = 0.25
"""Share of the budget that a request has however long the event loop let it wait."""
logger = logging.getLogger(__name__)


class OverloadedError(Exception):
    """A request that is refused; it may come again after `retry_after_s`."""

    retry_after_s = RETRY_AFTER_S


class Observer(Protocol):
    """Hears how hard pressed the replica is, and what is refused."""

    def observe_pressure(self, pressure: float, level: int) -> None:
        """Hear of the expected latency over the objective, and of the ladder's level."""
        ...

    def count_refused(self, reason: str) -> None:
        """Count a request that was refused."""
        ...


@dataclass(frozen=True)
class Ticket:
    """How one request is answered."""

    plan: Plan
    budget_ms: float
    """Time for the answer, less what it has waited for already."""
    level: int = 0
    reason: str | None = None
    """What its answer says in `degraded`."""
    is_computed: bool = True
    """Whether stages are asked; otherwise popular items are answered from memory."""


class Admission:
    """Lets requests in at the level of quality that the replica can bear.

    A request that would be late even so overflows: popular items, or a refusal. One more is let
    in whenever fewer are in flight than are worked on at a time, so that costs are learned anew
    after a stall.

    Args:
        config: the ladder.
        budget_ms: time for one answer.
        max_in_flight: requests above this number are refused.
        parallelism: requests that are worked on at a time, as far as this process knows.
        observer: hears what is refused.
        clock: seconds, never falling.
    """

    def __init__(
        self,
        config: OverloadConfig,
        observer: Observer,
        *,
        budget_ms: int,
        max_in_flight: int,
        parallelism: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.observer = observer
        self.budget_ms = budget_ms
        self.objective_s = (config.objective or budget_ms) / 1000
        self.max_in_flight = max_in_flight
        self.pressure = Pressure(1 + len(config.savings), parallelism=parallelism)
        self.ladder = Ladder(config)
        self.lag = LoopLag()
        self._clock = clock

    @contextmanager
    def admitted(self) -> Iterator[Ticket]:
        """Let a request in for the block, which must run on the event loop.

        Raises:
            OverloadedError: it is refused.
        """
        ticket = self._ticket()
        if not ticket.is_computed:
            yield ticket
            return
        started_s = self._clock()
        num_in_flight = self.pressure.enter()
        try:
            yield ticket
            now_s = self._clock()
            self.pressure.learn(
                ticket.level,
                now_s,
                latency_s=min(now_s - started_s, self.budget_ms / 1000),
                num_in_flight=num_in_flight,
            )
        finally:
            self.pressure.leave()

    def stats(self) -> dict[str, float]:
        """Return what autoscaling asks for: see `serve.autoscaling`."""
        return {"demand": self.demand(), "pressure": self.ladder.pressure}

    def rate(self) -> float:
        """Return arrivals per second of late, those included that were refused."""
        return self.pressure.rate(self._clock())

    def demand(self) -> float:
        """Return the share of the replica that full answers to all arrivals take."""
        return self.pressure.utilization(0, self._clock())

    def _ticket(self) -> Ticket:
        """Choose, and note the arrival."""
        now_s, pressure = self._clock(), self.pressure
        pressure.arrive(now_s)
        self.lag.start()
        lag_s = self.lag.seconds()
        expected_s = lag_s + pressure.predicted_s(self.ladder.level)
        level = self._level(expected_s / self.objective_s, now_s)
        budget_ms = max(self.budget_ms - 1000 * lag_s, LEAST_BUDGET * self.budget_ms)
        limit_s = self.config.limit * self.objective_s
        if pressure.in_flight >= self.max_in_flight:
            self._refuse("too many in flight")
        if expected_s > limit_s and pressure.in_flight >= pressure.parallelism:
            if lag_s > limit_s:
                self._refuse("event loop late")
            return self._overflow(budget_ms)
        plan = self.config.plan(level, 1000 * time.time() + budget_ms)
        return Ticket(plan, budget_ms, level, self.config.reason(level))

    def _level(self, pressure: float, now_s: float) -> int:
        """Let the ladder move, and tell when it does."""
        before = self.ladder.level
        above = self.pressure.eased_utilization(max(before - 1, 0), now_s)
        level = self.ladder.observe(pressure, now_s, utilization_above=above)
        if level != before:
            steps = ", ".join(self.config.savings[:level]) or "full quality"
            logger.warning("overload level %d of %d: %s", level, len(self.config.savings), steps)
        self.observer.observe_pressure(self.ladder.pressure, level)
        return level

    def _overflow(self, budget_ms: float) -> Ticket:
        if not self.config.has_popular:
            self._refuse("would be late")
        return Ticket(Plan(), budget_ms, reason=told("popular"), is_computed=False)

    def _refuse(self, reason: str) -> None:
        self.observer.count_refused(reason)
        raise OverloadedError(reason)
