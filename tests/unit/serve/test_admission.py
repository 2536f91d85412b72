"""Admission over a simulated replica: one queue, worked off in order, at a cost for each level."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
import pytest

from serve.admission import LEAST_BUDGET, Admission, OverloadedError, Ticket
from serve.ladder import OverloadConfig
from serve.pressure import LoopLag

OBJECTIVE_MS = 200
COSTS_S = (0.010, 0.005, 0.0045, 0.002)
"""Of a request by level; the last is a fifth of the full quality."""


class Punctual(LoopLag):
    """A loop that is never late, whatever the wall clock says of a simulation."""

    late_s = 0.0

    def start(self) -> None:
        """Watch nothing."""

    def seconds(self) -> float:
        """Return what the test sets."""
        return self.late_s


class Refusals(Counter[str]):
    """Counts refusals."""

    def observe_pressure(self, pressure: float, level: int) -> None:
        """Check both."""
        assert pressure >= 0
        assert level >= 0

    def count_refused(self, reason: str) -> None:
        """Count one."""
        self[reason] += 1


@dataclass
class Replica:
    """Serves arrivals in simulated time."""

    config: OverloadConfig = OverloadConfig()
    max_in_flight: int = 10_000
    stalled: tuple[float, float] = (0.0, 0.0)
    """From when to when whatever is ranked takes the whole budget, as without any ranker."""
    now_s: float = 0.0
    refusals: Refusals = field(default_factory=Refusals)

    def __post_init__(self) -> None:
        self.admission = Admission(
            self.config,
            self.refusals,
            budget_ms=OBJECTIVE_MS,
            max_in_flight=self.max_in_flight,
            clock=lambda: self.now_s,
        )
        self.admission.lag = Punctual()

    def serve(self, arrivals: Sequence[float]) -> list[tuple[float, Ticket | None, float]]:
        """Return (arrival, ticket or None for a refusal, latency) of each request."""
        free_s, running, served = 0.0, list[tuple[float, ExitStack]](), []
        for arrival_s in arrivals:
            while running and running[0][0] <= arrival_s:
                self.now_s, stack = running.pop(0)
                stack.close()
            self.now_s, stack = arrival_s, ExitStack()
            try:
                ticket = stack.enter_context(self.admission.admitted())
            except OverloadedError:
                served.append((arrival_s, None, 0.0))
                continue
            if ticket.is_computed:
                free_s = max(free_s, arrival_s) + self.cost_s(ticket.level)
                running.append((free_s, stack))
            served.append((arrival_s, ticket, free_s - arrival_s if ticket.is_computed else 0.0))
        return served

    def cost_s(self, level: int) -> float:
        """Return what a request of a level costs at the moment."""
        is_stalled = self.stalled[0] <= self.now_s < self.stalled[1]
        return OBJECTIVE_MS / 1000 if is_stalled and level < len(COSTS_S) - 1 else COSTS_S[level]


def poisson(*phases: tuple[float, float]) -> list[float]:
    """Return arrivals of phases of (rate, seconds)."""
    random, started, arrivals = np.random.default_rng(5), 0.0, list[float]()
    for rate, seconds in phases:
        number = random.poisson(rate * seconds)
        arrivals += (started + np.sort(random.uniform(0, seconds, number))).tolist()
        started += seconds
    return arrivals


def test_at_a_steady_load_every_answer_is_full() -> None:
    served = Replica().serve(poisson((60, 30)))
    assert {ticket.reason if ticket else "refused" for _, ticket, _ in served} == {None}


@pytest.mark.parametrize("times", [3, 10, 30])
def test_a_spike_is_answered_in_time_and_passes_without_a_trace(times: int) -> None:
    replica = Replica()
    served = replica.serve(poisson((40, 10), (40 * times, 20), (40, 20)))
    assert not replica.refusals
    assert all(ticket for _, ticket, _ in served)
    latencies = 1000 * np.asarray([latency for *_, latency in served])
    assert np.percentile(latencies, 99) <= OBJECTIVE_MS
    reasons = {s: ticket.reason for s, ticket, _ in served if ticket}
    assert {reason for s, reason in reasons.items() if s < 10} == {None}
    assert {reason for s, reason in reasons.items() if s > 36} == {None}, "recovered"


def test_in_a_spike_the_replica_computes_as_much_as_it_can() -> None:
    served = Replica().serve(poisson((40, 10), (1000, 20)))
    spike = [ticket for s, ticket, _ in served if s > 12 and ticket]
    work_s = sum(COSTS_S[ticket.level] for ticket in spike if ticket.is_computed)
    assert work_s > 0.8 * 18, "what is left idle answers nobody"
    told = Counter(ticket.reason for ticket in spike)
    assert told["overload: no ranker"] > 0.3 * len(spike)
    assert told["overload: popular"] > 0.3 * len(spike)


def test_levels_do_not_flap_at_a_steady_overload() -> None:
    served = Replica().serve(poisson((150, 60)))
    levels = [ticket.level for s, ticket, _ in served if s > 5 and ticket and ticket.is_computed]
    assert np.count_nonzero(np.diff(levels)) <= 20


def test_quality_is_back_soon_after_a_stage_that_was_missing() -> None:
    served = Replica(stalled=(10.0, 16.0)).serve(poisson((10, 60)))
    missed = [s for s, ticket, _ in served if ticket and ticket.reason]
    assert 10 <= min(missed) < 11
    assert max(missed) < 30


def test_without_popular_items_what_overflows_is_refused() -> None:
    replica = Replica(OverloadConfig(steps=("no_ranker",)))
    served = replica.serve(poisson((2000, 5)))
    assert set(replica.refusals) == {"would be late"}
    answered = [latency for _, ticket, latency in served if ticket]
    assert 1000 * np.percentile(answered, 99) <= OBJECTIVE_MS


def test_too_many_in_flight_are_refused_whatever_they_cost() -> None:
    replica = Replica(max_in_flight=3)
    tickets = [ticket for _, ticket, _ in replica.serve([0.0] * 5)]
    assert [ticket is None for ticket in tickets] == [False] * 3 + [True] * 2
    assert replica.refusals == {"too many in flight": 2}


def test_a_late_event_loop_leaves_less_time_and_refuses_all_but_one() -> None:
    replica = Replica()
    replica.admission.lag.late_s = 0.16
    first, second = (ticket for _, ticket, _ in replica.serve([0.0, 0.001]))
    assert first is not None
    assert first.budget_ms == LEAST_BUDGET * OBJECTIVE_MS
    assert second is None
    assert replica.refusals == {"event loop late": 1}


def test_after_a_stall_one_request_at_a_time_finds_out_what_they_cost_now() -> None:
    replica = Replica()
    replica.admission.pressure.learn(0, 0.0, latency_s=0.2, num_in_flight=1)
    served = replica.serve([number / 10 for number in range(200)])
    assert not replica.refusals
    assert served[0][1] is not None
    assert served[0][1].is_computed
    assert served[-1][1] is not None
    assert served[-1][1].reason is None


def test_demand_and_rate_count_what_was_refused_and_at_full_quality() -> None:
    replica = Replica(OverloadConfig(steps=("no_ranker",)))
    replica.serve(poisson((50, 5), (1000, 5)))
    assert replica.admission.rate() == pytest.approx(1000, rel=0.3)
    assert replica.admission.stats()["demand"] == pytest.approx(1000 * COSTS_S[0], rel=0.3)


def test_a_request_that_failed_teaches_nothing() -> None:
    async def fail() -> float:
        admission = Admission(OverloadConfig(), Refusals(), budget_ms=200, max_in_flight=9)
        with pytest.raises(KeyError), admission.admitted():
            raise KeyError
        assert admission.pressure.in_flight == 0
        return admission.pressure.cost_s(0)

    assert asyncio.run(fail()) == 0.0
