"""What the gateway speaks for: the pipeline, the events' way into the store, and the counts."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from serve.access import AccessLog
from serve.admission import Admission
from serve.config import ServeConfig
from serve.equipment import Equipment
from serve.messages import Answer, Events, Request
from serve.metrics import Metrics
from serve.passage import Observers
from serve.pipeline import Pipeline
from serve.stages import Stages
from serve.topology import GATEWAY, PLACED
from serve.tracing import open_tracer
from serve.versions.comparison import Comparison
from serve.versions.lineup import Lineup
from serve.versions.orders import Orders, Report
from serve.versions.unseen import Nobody, SpareTime

Reopen = Callable[[str], tuple[Equipment, Stages]]
logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class Served:
    """What answers from one bundle."""

    equipment: Equipment
    pipeline: Pipeline
    unseen: Pipeline
    """Answers what is not shown."""


class Service:
    """Serves the champion, beside which it may hold other bundles.

    Args:
        equipment: the first champion, the online store and what is answered when stages fail.
        stages: run its stages, in this process or on other replicas.
        metrics: counts what happens.
        reopen: opens another bundle and warms it up; None for a service that stays with one.
    """

    def __init__(
        self,
        equipment: Equipment,
        stages: Stages,
        metrics: Metrics,
        reopen: Reopen | None = None,
    ) -> None:
        self.settings = equipment.settings
        self.metrics = metrics
        self.access = AccessLog(self.settings.serve.log)
        self.admission = _admission(self.settings.serve, metrics)
        tracer = open_tracer(self.settings.serve.trace, self.settings.recommender)
        self.observer = Observers(metrics, tracer) if tracer else metrics
        self._reopen = reopen
        self.champion = equipment.bundle.id
        self.lineup = Lineup(GATEWAY, self._open)
        self.lineup.held[self.champion] = self._served(equipment, stages)
        self.comparison = Comparison(self.settings, self.admission.demand, metrics)

    async def recommend(self, request: Request, request_id: str) -> Answer:
        """Answer one request, from one bundle."""
        served = self._chosen(request)
        answer = await served.pipeline.answer(request, request_id)
        self.comparison.note(request, answer)
        return answer

    async def record(self, events: Events) -> int:
        """Write events into their users' histories, in a thread: a write may wait for another."""
        writer = self.answering.equipment.events
        num_events = await asyncio.to_thread(writer.write, events)
        self.metrics.count_events(self.settings.recommender, num_events)
        return num_events

    async def withdraw(self, item_id: int | str) -> None:
        """Show an item no more."""
        await asyncio.to_thread(self.answering.equipment.withdrawals.withdraw, item_id)

    async def restore(self, item_id: int | str) -> None:
        """Take a withdrawal back."""
        await asyncio.to_thread(self.answering.equipment.withdrawals.restore, item_id)

    def health(self) -> dict[str, str]:
        """Tell which bundle answers, in which topology."""
        return {
            "recommender": self.settings.recommender,
            "bundle": self.champion,
            "topology": self.settings.serve.layout_name,
        }

    def versions(self) -> dict[str, Any]:
        """Tell which bundles there are, as this replica was last told."""
        return {**self.comparison.orders.status, "answering": self.champion}

    def report(self) -> Report:
        """Tell the coordinator which bundles this replica holds, and what it has seen of them."""
        answers, trials = self.comparison.report()
        own = self.lineup.report(self.champion)
        return replace(own, answers=answers, trials=trials, rate=self.admission.rate())

    def follow(self, orders: Orders) -> None:
        """Answer from the champion, once it is held; requests in flight end as they began."""
        if orders.champion != self.champion and orders.champion in self.lineup.held:
            logger.info("bundle %s answers in place of %s", orders.champion, self.champion)
            self.champion = orders.champion
            self.metrics.count_switch()
        self.lineup.follow(orders, in_use=(self.champion,))
        self.metrics.observe_held(len(self.lineup.held))
        unseen = {bundle_id: served.unseen for bundle_id, served in self.lineup.held.items()}
        self.comparison.follow(orders, unseen)

    def _chosen(self, request: Request) -> Served:
        """Return what answers a request: the champion, or the canary's for its users."""
        canary = self.comparison.canary(request.user_id)
        return self.lineup.held.get(canary or self.champion, self.answering)

    @property
    def answering(self) -> Served:
        """What the champion answers with."""
        return self.lineup.held[self.champion]

    def _open(self, bundle_id: str) -> Served:
        assert self._reopen is not None, "a service of one bundle"
        return self._served(*self._reopen(bundle_id))

    def _served(self, equipment: Equipment, stages: Stages) -> Served:
        kept, fallback = equipment.kept, equipment.fallback
        spare = SpareTime(self.settings.serve.budget)
        return Served(
            equipment,
            Pipeline(stages, fallback, self.observer, self.admission, kept=kept),
            Pipeline(stages, fallback, Nobody(), spare, kept=replace(kept, answers=None)),
        )


def _admission(config: ServeConfig, metrics: Metrics) -> Admission:
    gateway = next(size for size in config.layout if size.name == GATEWAY)
    return Admission(
        config.overload,
        metrics,
        budget_ms=config.budget,
        max_in_flight=gateway.max_in_flight,
        parallelism=config.threads if gateway.stages == PLACED else 1,
    )
