"""What the gateway speaks for: the pipeline, the events' way into the store, and the counts."""

import asyncio

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


class Service:
    """Serves one bundle.

    Args:
        equipment: the bundle, the online store and what is answered when stages fail.
        stages: run the stages, in this process or on other replicas.
        metrics: counts what happens.
    """

    def __init__(self, equipment: Equipment, stages: Stages, metrics: Metrics) -> None:
        self.equipment = equipment
        self.metrics = metrics
        self.access = AccessLog(equipment.settings.serve.log)
        self.admission = _admission(equipment.settings.serve, metrics)
        tracer = open_tracer(equipment.settings.serve.trace, equipment.settings.recommender)
        observer = Observers(metrics, tracer) if tracer else metrics
        self.pipeline = Pipeline(
            stages,
            equipment.fallback,
            observer,
            self.admission,
            kept=equipment.kept,
        )
        self.events = equipment.events

    async def recommend(self, request: Request, request_id: str) -> Answer:
        """Answer one request."""
        return await self.pipeline.answer(request, request_id)

    async def record(self, events: Events) -> int:
        """Write events into their users' histories, in a thread: a write may wait for another."""
        num_events = await asyncio.to_thread(self.events.write, events)
        self.metrics.count_events(self.equipment.settings.recommender, num_events)
        return num_events

    async def withdraw(self, item_id: int | str) -> None:
        """Show an item no more."""
        await asyncio.to_thread(self.equipment.withdrawals.withdraw, item_id)

    async def restore(self, item_id: int | str) -> None:
        """Take a withdrawal back."""
        await asyncio.to_thread(self.equipment.withdrawals.restore, item_id)

    def health(self) -> dict[str, str]:
        """Tell which bundle answers, in which topology."""
        settings = self.equipment.settings
        return {
            "recommender": settings.recommender,
            "bundle": self.equipment.bundle.id,
            "topology": settings.serve.layout_name,
        }


def _admission(config: ServeConfig, metrics: Metrics) -> Admission:
    gateway = next(size for size in config.layout if size.name == GATEWAY)
    return Admission(
        config.overload,
        metrics,
        budget_ms=config.budget,
        max_in_flight=gateway.max_in_flight,
        parallelism=config.threads if gateway.stages == PLACED else 1,
    )
