"""Runs a replica's computations off its event loop, the most urgent first."""

import asyncio
import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

from serve.plan import Plan
from serve.turn import A, Job, Joint, T, Turn

PATIENCE_S = 1.0
"""A computation that goes on so long after everybody has left holds its thread no longer."""
MAX_STUCK = 8

P = ParamSpec("P")
R = TypeVar("R")
logger = logging.getLogger(__name__)


def unheard(num_jobs: int) -> None:
    """Tell nobody how many jobs were computed in one call."""


class Threads:
    """So many computations at a time; what comes meanwhile waits in turn.

    A request that has begun goes before one that came later. What nobody waits for any more, as
    its deadline has passed or its client has gone, is dropped before it is computed. What a stage
    computes for several requests in one call is put together when a thread becomes free: nothing
    waits for company.

    Args:
        num_threads: computations at a time.
        patience_s: see PATIENCE_S.
        tell: hears how many requests a call was for, where it could be for several.
    """

    def __init__(
        self,
        num_threads: int,
        *,
        patience_s: float = PATIENCE_S,
        tell: Callable[[int], None] = unheard,
    ) -> None:
        self._patience_s = patience_s
        self._tell = tell
        self._jobs: list[Job] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._num_stuck = 0
        for _ in range(num_threads):
            self._start_thread()

    async def run(
        self, plan: Plan, stage: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Call in a thread and wait without blocking the loop.

        Raises:
            DeadlinePassedError: the plan's deadline came before a thread was free.
        """
        call = partial(stage, *args, **kwargs)
        return await self.run_jointly(plan, lambda _: [call()], None, most=1)

    async def run_jointly(self, plan: Plan, stage: Joint[A, T], ask: A, *, most: int) -> T:
        """Call in a thread with this ask and those of the same stage that wait when one is free.

        Where such a call fails, each ask is computed alone: only what is at fault fails.

        Args:
            plan: the request's.
            stage: called with up to `most` asks.
            ask: the request's.
            most: what the stage takes in one call.

        Raises:
            DeadlinePassedError: the plan's deadline came before a thread was free.
        """
        job = Job(plan.deadline_ms, next(self._numbers), plan, stage, ask, most)
        with self._changed:
            heapq.heappush(self._jobs, job)
            self._changed.notify()
        try:
            result: T = await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            if job.future.running():
                job.has_left = True
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
        """Compute turn after turn, until closed or replaced."""
        while (turn := self._next()) is not None:
            if turn.jobs[0].most > 1:
                self._tell(len(turn.jobs))
            turn.compute()
            with self._changed:
                turn.jobs.clear()  # they know their turn: such a circle would hold on to arrays
                if turn.is_replaced:
                    self._num_stuck -= 1
                    return

    def _next(self) -> Turn | None:
        """Wait for the most urgent job that somebody still waits for; None when closed."""
        with self._changed:
            while not self._is_closed:
                if not self._jobs:
                    self._changed.wait()
                    continue
                turn = self._turn(heapq.heappop(self._jobs))
                if turn.jobs:
                    return turn
            return None

    def _turn(self, first: Job) -> Turn:
        """Begin a job, and as many of those that can be computed with it as its stage takes."""
        turn = Turn()
        first.begin(turn)
        if first.most == 1 or not turn.jobs:
            return turn
        for job in sorted(job for job in self._jobs if job.stage == first.stage):
            if len(turn.jobs) == first.most:
                break
            self._jobs.remove(job)
            job.begin(turn)
        heapq.heapify(self._jobs)
        return turn

    def _replace(self, job: Job) -> None:
        """Start another thread in the place of one that still computes what nobody waits for."""
        turn = job.turn
        assert turn is not None, "begun"
        with self._changed:
            if self._is_closed or turn.is_replaced or not turn.is_abandoned:
                return
            if self._num_stuck == MAX_STUCK:
                logger.error("%d threads are stuck; the next one is not replaced", MAX_STUCK)
                return
            self._num_stuck += 1
            turn.is_replaced = True
        logger.error("a thread has been stuck for over %g s: replaced", self._patience_s)
        self._start_thread()
