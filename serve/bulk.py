"""Answers for many users as of one instant, by the stages and the pipeline of the service."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from serve.admission import Admission
from serve.clock import FixedClock
from serve.equipment import Equipment
from serve.hydration import Hydrator
from serve.kept import Kept
from serve.ladder import OverloadConfig
from serve.messages import Answer, Request
from serve.passage import Passage
from serve.pipeline import Pipeline
from serve.plan import Plan
from serve.ranking import Ranker
from serve.reranking import Reranker
from serve.sources import Sources
from serve.stages import Candidates, Query, Ranked, Slate

REQUEST_ID = "batch"
BUDGET_MS = 3_600_000
"""Nobody waits for an answer: no stage is late."""


@dataclass(frozen=True)
class Terms:
    """What every user is asked for."""

    num_items: int
    context: Mapping[str, Any]
    now_ms: int
    """The instant of all requests, by the service's clock."""


class Tally:
    """Hears what the pipeline does, and keeps the sums."""

    def __init__(self) -> None:
        self._stage_ms: defaultdict[str, float] = defaultdict(float)

    def observe(self, passage: Passage) -> None:
        """Add one user's stages."""
        for report in passage.reports:
            self._stage_ms[report.stage] += report.time_ms

    def take(self) -> dict[str, float]:
        """Return the milliseconds in each stage, of all users since the last call."""
        taken, self._stage_ms = dict(self._stage_ms), defaultdict(float)
        return taken

    def observe_pressure(self, pressure: float, level: int) -> None:
        """Nothing gives way: there is no ladder."""

    def count_refused(self, reason: str) -> None:
        """Nobody is refused: one asks at a time."""
        raise AssertionError(reason)


class InlineStages:
    """Runs the stages where they are called: with one user at a time, threads would only wait.

    Args:
        hydrator, sources, ranker, reranker: the stages.
    """

    def __init__(
        self, hydrator: Hydrator, sources: Sources, *, ranker: Ranker, reranker: Reranker
    ) -> None:
        self.hydrator = hydrator
        self.sources = sources
        self.ranker = ranker
        self.reranker = reranker

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Look up the user and assemble the model inputs."""
        return self.hydrator.hydrate(request, plan=plan)

    async def retrieve(self, query: Query) -> Candidates:
        """Collect candidates from the sources and filter them."""
        return self.sources.retrieve(query)

    async def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Predict every task for every candidate."""
        return self.ranker.rank(query, candidates)

    async def rerank(self, query: Query, ranked: Ranked) -> Slate:
        """Choose and order what is shown."""
        return self.reranker.rerank(query, ranked)


class Bulk:
    """Answers users as the service would at the instant of the terms, however long it takes.

    Args:
        equipment: the bundle, the online store and the stages.
        terms: what is asked for.
    """

    def __init__(self, equipment: Equipment, terms: Terms) -> None:
        self.tally = Tally()
        self._request = Request(user_id=0, num_items=terms.num_items, context=dict(terms.context))
        hydrator = Hydrator(
            equipment.bundle,
            replace(equipment.users, clock=FixedClock(terms.now_ms)),
            counts=equipment.counts,
            exclude_seen=equipment.settings.retrieval.exclude_seen,
        )
        stages = InlineStages(
            hydrator, equipment.sources, ranker=equipment.ranker, reranker=equipment.reranker
        )
        admission = Admission(
            OverloadConfig(steps=()), self.tally, budget_ms=BUDGET_MS, max_in_flight=1
        )
        kept = Kept(withdrawals=equipment.withdrawals)
        self.pipeline = Pipeline(stages, equipment.fallback, self.tally, admission, kept=kept)

    def answers(self, user_ids: Sequence[int | str]) -> list[Answer]:
        """Return an answer for each user, in their order."""
        return asyncio.run(self._answers(user_ids))

    async def _answers(self, user_ids: Sequence[int | str]) -> list[Answer]:
        return [await self._answer(user_id) for user_id in user_ids]

    async def _answer(self, user_id: int | str) -> Answer:
        # Not checked: the data may hold ids that HTTP would refuse.
        request = self._request.model_copy(update={"user_id": user_id})
        return await self.pipeline.answer(request, REQUEST_ID)
