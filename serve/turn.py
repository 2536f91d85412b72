"""What a thread computes in one call: one request's ask of a stage, or several requests' alike."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from serve.plan import DeadlinePassedError, Plan

A = TypeVar("A")
T = TypeVar("T")
Joint = Callable[[Sequence[A]], Sequence[T]]
"""Computes the asks of several requests: a result for each, in their order."""


@dataclass(order=True)
class Job:
    """What one request asks of a stage; those of the request that is due first come first."""

    deadline_ms: float
    number: int
    plan: Plan = field(compare=False)
    stage: Joint[Any, Any] = field(compare=False)
    ask: Any = field(compare=False)
    most: int = field(compare=False, default=1)
    """Jobs that the stage takes in one call."""
    future: Future[Any] = field(compare=False, default_factory=Future)
    turn: "Turn | None" = field(compare=False, default=None)
    has_left: bool = field(compare=False, default=False)
    """Whether nobody waits for it any more, although it has begun."""

    def begin(self, turn: "Turn") -> None:
        """Become part of a turn if somebody waits for it and can still use it."""
        if not self.future.set_running_or_notify_cancel():
            return
        if self.plan.left_s <= 0:
            self.future.set_exception(DeadlinePassedError("dropped: its deadline has passed"))
            return
        self.turn = turn
        turn.jobs.append(self)


@dataclass
class Turn:
    """Jobs of one stage, computed in one call."""

    jobs: list[Job] = field(default_factory=list)
    is_replaced: bool = False
    """Whether another thread has taken the place of the one that computes this."""

    @property
    def is_abandoned(self) -> bool:
        """Whether it is being computed for nobody."""
        pending = [job for job in self.jobs if not job.future.done()]
        return bool(pending) and all(job.has_left for job in pending)

    def compute(self) -> None:
        """Give every job its result, or what went wrong with it."""
        try:
            _compute(self.jobs)
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            if len(self.jobs) == 1:
                self.jobs[0].future.set_exception(error)
            else:
                self._compute_one_by_one()

    def _compute_one_by_one(self) -> None:
        """One of the jobs is at fault, and the others shall not fail with it."""
        for job in self.jobs:
            Turn([job]).compute()


def _compute(jobs: Sequence[Job]) -> None:
    results = jobs[0].stage([job.ask for job in jobs])
    assert len(results) == len(jobs), "a result for each"
    for job, result in zip(jobs, results, strict=True):
        job.future.set_result(result)
