"""Requests answered once more by another bundle, for comparison: nobody waits for these answers."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from serve.admission import Ticket
from serve.messages import Answer, Request, RequestError
from serve.passage import Passage
from serve.pipeline import Pipeline
from serve.plan import Plan
from serve.versions.tally import Tally

BUDGETS = 20
"""Budgets of time that an answer has for which nobody waits: those that are due go first."""
BUSY = 0.6
"""Share of its capacity above which a replica has no room for such answers."""
PATIENCE_S = 30.0
"""Time that a trial waits for room, all in all."""
POLL_S = 0.1
REQUEST_ID = "unseen"

Shown = Sequence[int | str]
Hear = Callable[[Answer | None], None]
logger = logging.getLogger(__name__)


class SpareTime:
    """Lets every request in, with more time and after those that somebody waits for.

    Args:
        budget_ms: of an answer that is shown.
    """

    def __init__(self, budget_ms: int) -> None:
        self.budget_ms = BUDGETS * budget_ms

    @contextmanager
    def admitted(self) -> Iterator[Ticket]:
        """Let a request in for the block."""
        yield Ticket(Plan(deadline_ms=1000 * time.time() + self.budget_ms), self.budget_ms)


class Nobody:
    """Hears of requests and does nothing."""

    def observe(self, passage: Passage) -> None:
        """Hear of one."""


class Recent:
    """The latest requests and what was shown.

    Args:
        size: how many.
        utilization: tells which share of the replica's capacity is in use.
    """

    def __init__(self, size: int, utilization: Callable[[], float]) -> None:
        self._utilization = utilization
        self._kept: deque[tuple[Request, Shown]] = deque(maxlen=size)

    def note(self, request: Request, answer: Answer) -> None:
        """Keep a request with a whole answer."""
        if answer.degraded is None:
            self._kept.append((request, [item.item_id for item in answer.items]))

    async def tried(self, pipeline: Pipeline) -> Tally:
        """Let another bundle answer them, one after the other; return what became of them.

        Where there is no room for long the rest is left out: to be late then would prove nothing.
        """
        tally, patience_s = Tally(), PATIENCE_S
        for request, shown in list(self._kept):
            while self._utilization() > BUSY and patience_s > 0:
                await asyncio.sleep(POLL_S)
                patience_s -= POLL_S
            if patience_s <= 0:
                break
            tally.note_unseen(await answer_unseen(pipeline, request), shown)
        return tally


class Shadow:
    """Lets the challenger answer some requests too, one at a time, while there is room.

    Args:
        sampling: share of the requests.
        utilization: tells which share of the replica's capacity is in use.
        draw: a number between 0 and 1.
    """

    def __init__(
        self,
        sampling: float,
        utilization: Callable[[], float],
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._sampling = sampling
        self._utilization = utilization
        self._draw = draw
        self.running: asyncio.Task[None] | None = None

    def offer(self, pipeline: Pipeline, request: Request, hear: Hear) -> bool | None:
        """Take a request, or leave it; call on the event loop.

        Args:
            pipeline: the challenger's.
            request: may be answered.
            hear: is told the answer.

        Returns:
            Whether there was room for it; None for a request that was not drawn.
        """
        if self._draw() >= self._sampling:
            return None
        if self.running is not None and not self.running.done():
            return False
        if self._utilization() > BUSY:
            return False
        self.running = asyncio.ensure_future(_tell(pipeline, request, hear))
        return True


async def answer_unseen(pipeline: Pipeline, request: Request) -> Answer | None:
    """Answer a request; None where the bundle cannot."""
    try:
        return await pipeline.answer(request, REQUEST_ID)
    except RequestError:  # what one bundle understands, the other does not
        return None
    except Exception:
        logger.exception("no answer from a bundle that is not shown")
        return None


async def _tell(pipeline: Pipeline, request: Request, hear: Hear) -> None:
    hear(await answer_unseen(pipeline, request))
