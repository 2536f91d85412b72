"""A stage's replica tells how much of it all arrivals would take, and how long they wait."""

from contextlib import ExitStack

import pytest

from serve.plan import FULL, Plan
from serve.workload import TOLD_S, Workload

CHEAP = Plan(max_candidates=10)


class Stage:
    """One replica in simulated time."""

    def __init__(self, parallelism: int = 1) -> None:
        self.now_s = 0.0
        self.workload = Workload(0.1, parallelism=parallelism, clock=lambda: self.now_s)

    def call(self, seconds: float, plan: Plan = FULL, *, is_answered: bool = True) -> None:
        """Work on one call alone."""
        with self.workload.counted(plan) as call:
            self.now_s += seconds
            call.is_answered = is_answered

    def call_in_vain(self, seconds: float) -> None:
        """Work on a call until nobody waits for it any more."""
        with self.workload.counted(FULL):
            self.now_s += seconds
            raise TimeoutError

    def calls(self, rate: float, seconds: float, plan: Plan = FULL) -> None:
        """Let calls of 10 ms come evenly for some seconds, of 2 ms where they are cheap."""
        for _ in range(round(rate * seconds)):
            taken_s = 0.010 if plan is FULL else 0.002
            self.call(taken_s, plan)
            self.now_s += 1 / rate - taken_s

    @property
    def demand(self) -> float:
        """The share of the replica that arrivals would take."""
        return self.workload.stats()["demand"]

    @property
    def offered(self) -> float:
        """How many replicas like this one a call for each of the service's requests would take."""
        return self.workload.stats()["offered"]

    @property
    def pressure(self) -> float:
        """The wait of one more call, over the objective."""
        return self.workload.stats()["pressure"]


def test_a_replica_that_was_never_called_has_none_of_these() -> None:
    stage = Stage()
    stage.workload.hear(500.0)
    assert stage.workload.stats() == {"demand": 0.0, "offered": 0.0, "pressure": 0.0}


def test_demand_is_the_share_of_the_time_that_calls_take() -> None:
    stage = Stage()
    stage.calls(rate=40, seconds=5)
    assert stage.demand == pytest.approx(0.4, rel=0.05)


def test_two_threads_bear_twice_as_much() -> None:
    stage = Stage(parallelism=2)
    stage.calls(rate=40, seconds=5)
    assert stage.demand == pytest.approx(0.2, rel=0.05)


def test_a_full_queue_costs_no_more_by_the_call() -> None:
    stage = Stage()
    with ExitStack() as queue:
        waiting = [queue.enter_context(ExitStack()) for _ in range(5)]
        calls = [one.enter_context(stage.workload.counted(FULL)) for one in waiting]
        for one, call in zip(waiting, calls, strict=True):
            stage.now_s += 0.010
            call.is_answered = True
            one.close()
    with stage.workload.counted(FULL):
        assert stage.pressure == pytest.approx(0.1), "another one waits for 10 ms"


def test_demand_stays_that_of_full_quality_while_calls_are_made_cheaper() -> None:
    stage = Stage()
    stage.calls(rate=40, seconds=5)
    stage.calls(rate=80, seconds=5, plan=CHEAP)
    assert stage.demand == pytest.approx(0.8, rel=0.05)


def test_a_replica_that_knows_only_cheap_calls_takes_them_for_the_least() -> None:
    stage = Stage()
    stage.calls(rate=40, seconds=5, plan=CHEAP)
    assert stage.demand == pytest.approx(0.08, rel=0.05)


def test_calls_that_fail_at_once_do_not_make_it_seem_idle() -> None:
    stage = Stage()
    stage.calls(rate=40, seconds=5)
    for _ in range(40):
        stage.call(0.0001, is_answered=False)
        stage.now_s += 1 / 40
    assert stage.demand == pytest.approx(0.4, rel=0.1)


def test_calls_that_nobody_waits_for_any_more_have_cost_what_they_took() -> None:
    stage = Stage()
    for _ in range(100):
        with pytest.raises(TimeoutError):
            stage.call_in_vain(0.2)
    assert stage.demand == pytest.approx(1.0, rel=0.25)


def test_a_stage_that_is_left_out_goes_by_the_requests_that_come_to_the_service() -> None:
    stage = Stage()
    stage.calls(rate=40, seconds=5)
    stage.now_s += 30.0
    stage.workload.hear(300.0)
    assert stage.demand == pytest.approx(0.0, abs=0.01)
    assert stage.offered == pytest.approx(3.0)


def test_a_rate_of_which_nothing_was_heard_since_is_forgotten() -> None:
    stage = Stage()
    stage.call(0.010)
    stage.workload.hear(300.0)
    stage.now_s += TOLD_S
    assert stage.offered == pytest.approx(3.0)
    stage.now_s += 0.1
    assert stage.offered == 0.0


def test_pressure_is_the_wait_for_a_free_thread_over_the_objective() -> None:
    stage = Stage(parallelism=2)
    stage.call(0.080)
    with ExitStack() as calls:
        expected = []
        for _ in range(4):
            expected.append(stage.pressure)
            calls.enter_context(stage.workload.counted(FULL))
    assert expected == pytest.approx([0.0, 0.0, 0.4, 0.8])
