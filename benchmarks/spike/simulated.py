"""A gateway whose stages sleep instead of computing: replicas that share no core, on one machine.

Everything in front of the stages is the product's own: HTTP, admission, ladder, pipeline, metrics
and what replicas tell the autoscaling. It imports no model, so that replicas start quickly.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from starlette.types import ASGIApp

from serve.access import AccessLog
from serve.admission import Admission
from serve.config import ServeConfig
from serve.gateway import gateway_app
from serve.messages import Answer, Events, Request
from serve.metrics import Metrics
from serve.pipeline import Pipeline
from serve.plan import Plan
from serve.precomputed import Precomputed
from serve.stages import Candidates, Query, Ranked, Slate, StageReport
from serve.threads import Threads
from serve.topology import GATEWAY
from serve.withdrawals import UnknownItemError

BUNDLE = "simulated"
NUM_CANDIDATES = 500
HYDRATE_S = 0.001
RETRIEVE_S = 0.004
RANK_S = 0.025
RERANK_S = 0.002
SPREAD = 0.2
"""Standard deviation of a cost's logarithm."""
NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class SimulatedSetup:
    """What a simulated replica is started with."""

    config: ServeConfig
    metrics_folder: Path


class SleepingStages:
    """Stages that take their time and make nothing; ranking costs by the candidate."""

    def __init__(self, num_threads: int) -> None:
        self._threads = Threads(num_threads)
        self._random = np.random.default_rng()

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Take the time of a look-up."""
        report = await self._sleep(plan, "hydrate", HYDRATE_S, 1)
        return Query(
            BUNDLE,
            str(request.user_id),
            now_ms=0,
            num_items=request.num_items,
            explain=False,
            inputs={},
            history=NOTHING,
            excluded=NOTHING,
            plan=plan,
            reports=(report,),
        )

    async def retrieve(self, query: Query) -> Candidates:
        """Take the time of a search."""
        report = await self._sleep(query.plan, "retrieve", RETRIEVE_S, NUM_CANDIDATES)
        num_kept = min(query.plan.max_candidates or NUM_CANDIDATES, NUM_CANDIDATES)
        scores = np.linspace(1, 0, num_kept, dtype=np.float32)
        sources = np.zeros(num_kept, np.int64)
        rows = np.arange(num_kept)
        return Candidates(BUNDLE, rows, scores, sources, (BUNDLE,), reports=(report,))

    async def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Take the time of a model, or none where the plan does without."""
        ranked = Ranked.unranked(candidates)
        if not query.plan.is_ranked:
            return ranked
        num = len(candidates.rows)
        report = await self._sleep(query.plan, "rank", RANK_S * num / NUM_CANDIDATES, num)
        return Ranked(candidates, (), ranked.predictions, reports=(report,))

    async def rerank(self, query: Query, ranked: Ranked) -> Slate:
        """Take the time of choosing, half of it without diversity."""
        seconds = RERANK_S if query.plan.is_diverse else RERANK_S / 2
        report = await self._sleep(query.plan, "rerank", seconds, query.num_items)
        return Slate(BUNDLE, (), (report,))

    async def _sleep(self, plan: Plan, stage: str, mean_s: float, num: int) -> StageReport:
        seconds = mean_s * self._random.lognormal(-(SPREAD**2) / 2, SPREAD)
        await self._threads.run(plan, time.sleep, seconds)
        return StageReport(stage, 1000 * seconds, num, num)


class NoItems:
    """Answers nothing at once."""

    def slate(
        self,
        request: Request,
        query: Query | None,
        own: Precomputed | None,
        *,
        withdrawn: npt.NDArray[np.int64],
    ) -> Slate:
        """Return an empty slate."""
        return Slate(BUNDLE, ())


class SimulatedService:
    """The gateway's service over sleeping stages."""

    def __init__(self, setup: SimulatedSetup) -> None:
        config = setup.config
        gateway = next(size for size in config.layout if size.name == GATEWAY)
        self.metrics = Metrics(setup.metrics_folder)
        self.access = AccessLog(config.log)
        self.admission = Admission(
            config.overload,
            self.metrics,
            budget_ms=config.budget,
            max_in_flight=gateway.max_in_flight,
            parallelism=config.threads,
        )
        stages = SleepingStages(config.threads)
        self.pipeline = Pipeline(stages, NoItems(), self.metrics, self.admission)

    async def recommend(self, request: Request, request_id: str) -> Answer:
        """Answer one request."""
        return await self.pipeline.answer(request, request_id)

    async def record(self, events: Events) -> int:
        """Forget events."""
        return len(events.events)

    async def withdraw(self, item_id: int | str) -> None:
        """Know no item."""
        raise UnknownItemError(str(item_id))

    async def restore(self, item_id: int | str) -> None:
        """Know no item."""
        raise UnknownItemError(str(item_id))

    def health(self) -> dict[str, str]:
        """Tell that nothing here is real."""
        return {"bundle": BUNDLE}

    def versions(self) -> dict[str, Any]:
        """Tell that there are no others."""
        return {"answering": BUNDLE}


class SimulatedGateway:
    """A replica without a bundle."""

    def __init__(self, setup: SimulatedSetup) -> None:
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        setup.metrics_folder.mkdir(parents=True, exist_ok=True)
        self.service = SimulatedService(setup)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell Ray Serve what `serve.autoscaling` goes by."""
        return self.service.admission.stats()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application, when Ray Serve has made the replica."""
        return gateway_app(self.service)
