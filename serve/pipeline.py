"""One request through all stages, within its budget; the only place that may fall back."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Mapping
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from serve.admission import Ticket
from serve.departures import verdicts
from serve.explanation import Verdict
from serve.kept import NOTHING_KEPT, Kept
from serve.messages import Answer, Item, Request, RequestError
from serve.passage import Call, Observer, Passage
from serve.precomputed import Precomputed
from serve.progress import Progress
from serve.stages import Candidates, Query, Ranked, Slate, Stages

RESERVED = 0.2
"""Share of the budget kept for re-ranking, when the stages before it are late."""

NOTHING = np.zeros(0, np.int64)
T = TypeVar("T", Query, Candidates, Ranked, Slate)
logger = logging.getLogger(__name__)


class Fallback(Protocol):
    """Answers when the stages cannot."""

    def slate(
        self,
        request: Request,
        query: Query | None,
        own: Precomputed | None,
        *,
        withdrawn: npt.NDArray[np.int64],
    ) -> Slate:
        """Return items without a model; `query` is the hydrated request where it got that far."""
        ...


class Door(Protocol):
    """Decides what each request may cost, as `Admission` does."""

    def admitted(self) -> AbstractContextManager[Ticket]:
        """Let a request in for the block."""
        ...


class Pipeline:
    """Answers requests.

    Without predictions the order of retrieval stands; without candidates popular items are
    answered. The answer names what was missing in `degraded`, by overload or by failure.

    Args:
        stages: run the stages, here or elsewhere.
        fallback: answers when they cannot.
        observer: hears what happened.
        admission: decides what each request may cost.
        kept: what need not be computed, or must not be shown.
    """

    def __init__(
        self,
        stages: Stages,
        fallback: Fallback,
        observer: Observer,
        admission: Door,
        *,
        kept: Kept = NOTHING_KEPT,
    ) -> None:
        self.stages = stages
        self.fallback = fallback
        self.observer = observer
        self.admission = admission
        self.kept = kept

    async def answer(self, request: Request, request_id: str) -> Answer:
        """Answer one request, from the cache where that has the answer.

        Raises:
            RequestError: the request itself is wrong.
            OverloadedError: there are too many others.
        """
        started = time.perf_counter()
        key = self._key(request)
        answers = self.kept.answers
        if answers is None or key is None:
            return await self._computed(request, request_id)
        answer = answers.find(key)
        if answer is not None:
            return self._again(answer, request_id, time.perf_counter() - started)
        answer = await self._computed(request, request_id)
        answers.keep(key, answer, is_current=self._key(request) == key)
        return answer

    def _key(self, request: Request) -> bytes | None:
        """Return what the answer is kept under; None where it is not to be kept."""
        try:
            return self.kept.answers.key(request) if self.kept.answers else None
        except Exception:
            logger.exception("the store of what answers depend on cannot be read")
            return None

    def _again(self, answer: Answer, request_id: str, seconds: float) -> Answer:
        """Give an answer once more."""
        served = Counter(item.source for item in answer.items)
        passage = Passage(request_id, answer.bundle, seconds, (), (), {}, served, is_cached=True)
        self.observer.observe(passage)
        timings_ms = {"cache": round(1000 * seconds, 3), "total": round(1000 * seconds, 3)}
        return answer.model_copy(update={"request_id": request_id, "timings_ms": timings_ms})

    async def _computed(self, request: Request, request_id: str) -> Answer:
        """Answer through the stages, as far as the admission lets the request in."""
        with self.admission.admitted() as ticket:
            run = Run(ticket)
            slate = await self._slate(request, run)
        self.observer.observe(run.passage(request_id, slate))
        return Answer(
            request_id=request_id,
            bundle=slate.bundle,
            items=[_item(item) for item in slate.items],
            degraded=", ".join(run.degraded) or None,
            timings_ms=run.timings_ms(),
            why_not=verdicts(request, run.departures, slate),
        )

    async def _slate(self, request: Request, run: "Run") -> Slate:
        if not run.ticket.is_computed:
            return self._stand_in(request, None, run)
        query = await run.attempt("hydrate", self.stages.hydrate(request, run.ticket.plan))
        if query is None:
            return self._stand_in(request, None, run)
        candidates = await run.attempt("retrieve", self.stages.retrieve(query))
        if candidates is None:
            return self._stand_in(request, query, run)
        run.candidates = candidates.by_source()
        ranked = await run.attempt("rank", self.stages.rank(query, candidates))
        ranked = ranked or Ranked.unranked(candidates)
        slate = await run.attempt("rerank", self.stages.rerank(query, ranked), reserved=0.0)
        if slate is None:
            return self._stand_in(request, query, run)
        return slate

    def _stand_in(self, request: Request, query: Query | None, run: "Run") -> Slate:
        """Return the user's pre-computed items, or popular ones, in the place of the stages'."""
        own = None
        try:
            own = self.kept.precomputed.of(request.user_id) if self.kept.precomputed else None
        except Exception:
            run.degraded.append("precomputed failed")
            logger.exception("precomputed failed")
        return self.fallback.slate(request, query, own, withdrawn=self._withdrawn())

    def _withdrawn(self) -> npt.NDArray[np.int64]:
        """Return the rows that nobody shall see, those of before where the store cannot be read."""
        withdrawals = self.kept.withdrawals
        if withdrawals is None:
            return NOTHING
        try:
            return withdrawals.current().rows
        except Exception:
            logger.exception("withdrawals cannot be read")
            return withdrawals.last.rows


class Run:
    """One request's clock, reports and failures."""

    def __init__(self, ticket: Ticket) -> None:
        self.started = time.perf_counter()
        self.ticket = ticket
        self.budget_s = ticket.budget_ms / 1000
        self.calls: list[Call] = []
        self.candidates: Mapping[str, int] = {}
        self.departures: tuple[Verdict, ...] = ()
        self.degraded: list[str] = [ticket.reason] if ticket.reason else []

    async def attempt(
        self, stage: str, result: Awaitable[T], *, reserved: float = RESERVED
    ) -> T | None:
        """Wait for a stage; None when it fails or is late, which is logged and noted.

        Args:
            stage: its name.
            result: what it will give.
            reserved: share of the budget that it may not use.
        """
        elapsed_s = time.perf_counter() - self.started
        try:
            left_s = self.budget_s * (1 - reserved) - elapsed_s
            found = await asyncio.wait_for(result, max(left_s, 0.0))
        except RequestError:
            raise
        except TimeoutError:
            self.degraded.append(f"{stage} late")
            logger.warning("%s late: over the budget of %g ms", stage, 1000 * self.budget_s)
        except Exception:
            self.degraded.append(f"{stage} failed")
            logger.exception("%s failed", stage)
        else:
            self._note(stage, elapsed_s, found)
            self.departures += found.departures
            return found
        self._note(stage, elapsed_s, None)
        return None

    def _note(
        self, stage: str, started_s: float, found: Query | Candidates | Ranked | Slate | None
    ) -> None:
        seconds = time.perf_counter() - self.started - started_s
        reports = found.reports if found else ()
        ahead: Progress | None = getattr(found, "ahead", None)
        computed_ms = ahead.computed_ms if ahead else sum(report.time_ms for report in reports)
        self.calls.append(Call(stage, started_s, seconds, reports, computed_ms / 1000))

    def passage(self, request_id: str, slate: Slate) -> Passage:
        """Return what those who count, log and trace hear of the request."""
        return Passage(
            request_id=request_id,
            bundle=slate.bundle,
            seconds=time.perf_counter() - self.started,
            calls=self.calls,
            degraded=self.degraded,
            candidates=self.candidates,
            served=Counter(item.source for item in slate.items),
        )

    def timings_ms(self) -> dict[str, float]:
        """Return the time in each stage, and the total, which holds waiting and transport too."""
        total_ms = 1000 * (time.perf_counter() - self.started)
        reports = [report for call in self.calls for report in call.reports]
        stages = {report.stage: round(report.time_ms, 3) for report in reports}
        return {**stages, "total": round(total_ms, 3)}


def _item(item: object) -> Item:
    return Item.model_validate(vars(item))
