"""Runs a replica's computations off its event loop, the most urgent first."""

import asyncio
import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

from serve.plan import DeadlinePassedError, Plan

PATIENCE_S = 1.0
"""A computation that goes on so long after everybody has left holds its thread no longer."""
MAX_STUCK = 8

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)


@dataclass(order=True)
class Job:
    """One computation; those of the request that is due first come first."""

    deadline_ms: float
    number: int
    plan: Plan = field(compare=False)
    call: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False, default_factory=Future)
    is_replaced: bool = field(compare=False, default=False)
    """Whether another thread has taken the place of the one that computes this."""


class Threads:
    """So many computations at a time; what comes meanwhile waits in turn.

    A request that has begun goes before one that came later. What nobody waits for any more, as
    its deadline has passed or its client has gone, is dropped before it is computed.

    Args:
        num_threads: computations at a time.
        patience_s: see PATIENCE_S.
    """

    def __init__(self, num_threads: int, *, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._jobs: list[Job] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._num_stuck = 0
        for _ in range(num_threads):
            self._start_thread()

    async def run(
        self, plan: Plan, stage: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call in a thread and wait without blocking the loop.

        Raises:
            DeadlinePassedError: the plan's deadline came before a thread was free.
        """
        job = Job(plan.deadline_ms, next(self._numbers), plan, partial(stage, *args, **kwargs))
        with self._changed:
            heapq.heappush(self._jobs, job)
            self._changed.notify()
        try:
            result: T = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            if job.future.running():
                asyncio.get_running_loop().call_later(self._patience_s, self._replace, job)
            raise
        return result

    def close(self) -> None:
        """Drop what waits and let the threads end."""
        with self._changed:
            self._is_closed = True
            for job in self._jobs:
                job.future.cancel()
            self._jobs.clear()
            self._changed.notify_all()

    def _start_thread(self) -> None:
        threading.Thread(target=self._work, name="stages", daemon=True).start()

    def _work(self) -> None:
        """Compute job after job, until closed or replaced."""
        while (job := self._next()) is not None:
            _compute(job)
            with self._changed:
                if job.is_replaced:
                    self._num_stuck -= 1
                    return

    def _next(self) -> Job | None:
        """Wait for the most urgent job that somebody still waits for; None when closed."""
        with self._changed:
            while not self._is_closed:
                if not self._jobs:
                    self._changed.wait()
                    continue
                job = heapq.heappop(self._jobs)
                if job.future.set_running_or_notify_cancel():
                    return job
            return None

    def _replace(self, job: Job) -> None:
        """Start another thread in the place of one that still computes what nobody waits for."""
        with self._changed:
            if job.future.done() or self._is_closed:
                return
            if self._num_stuck == MAX_STUCK:
                logger.error("%d threads are stuck; the next one is not replaced", MAX_STUCK)
                return
            self._num_stuck += 1
            job.is_replaced = True
        logger.error("a thread has been stuck for over %g s: replaced", self._patience_s)
        self._start_thread()


def _compute(job: Job) -> None:
    if job.plan.left_s <= 0:
        job.future.set_exception(DeadlinePassedError("dropped: its deadline has passed"))
        return
    try:
        result = job.call()
    except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
