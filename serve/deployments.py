"""What runs on replicas: thin classes around the stages, knowing nothing of how many there are."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from starlette.types import ASGIApp

from cluster.storage import Storage
from retrieval.registry import BUNDLES
from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.gateway import gateway_app
from serve.logs import open_log
from serve.messages import Request
from serve.metrics import Metrics
from serve.plan import Plan
from serve.remote import RemoteStages
from serve.service import Service
from serve.stages import Candidates, Query, Ranked, Slate
from serve.threads import Threads
from serve.warming import warm_ranker, warm_reranker, warm_sources

# Ray Serve shows this logger's lines in the replica's log.
logger = logging.getLogger("ray.serve")


@dataclass(frozen=True)
class ReplicaSetup:
    """What every replica is started with; naming the bundle keeps them all on the same one."""

    settings: ServeSettings
    bundle_id: str
    metrics_folder: Path

    def open(self, role: str, warm: Callable[[Equipment], None]) -> Equipment:
        """Open the bundle and run `warm`; requests are computed on one core each."""
        started = time.monotonic()
        torch.set_num_threads(1)
        storage = Storage(self.settings.storage.root, self.settings.recommender)
        open_log(self.settings.serve.log, storage.local)
        equipment = Equipment.open(self.settings, storage.fetch(f"{BUNDLES}/{self.bundle_id}"))
        warm(equipment)
        elapsed_s = time.monotonic() - started
        logger.info("%s: bundle %s ready in %.1f s", role, self.bundle_id, elapsed_s)
        return equipment


class GatewayReplica:
    """Speaks HTTP and runs the pipeline.

    Args:
        setup: names the bundle.
        remote: handles of the retriever, ranker and re-ranker; without them this replica holds
            every stage itself.
    """

    def __init__(self, setup: ReplicaSetup, *remote: Any) -> None:
        equipment = setup.open("gateway", _warm_nothing if remote else _warm_all)
        stages = RemoteStages(*remote) if remote else equipment.stages
        setup.metrics_folder.mkdir(parents=True, exist_ok=True)
        self.service = Service(equipment, stages, Metrics(setup.metrics_folder))

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application, when Ray Serve has made the replica."""
        return gateway_app(self.service)


class RetrieverReplica:
    """Runs the first three stages."""

    def __init__(self, setup: ReplicaSetup) -> None:
        self.threads = Threads(setup.settings.serve.threads)
        self.equipment = setup.open("retriever", warm_sources)

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Look up the user and assemble the model inputs."""
        return await self.threads.run(plan, self.equipment.hydrator.hydrate, request, plan=plan)

    async def retrieve(self, query: Query) -> Candidates:
        """Collect candidates from the sources and filter them."""
        return await self.threads.run(query.plan, self.equipment.sources.retrieve, query)


class RankerReplica:
    """Runs the fourth stage."""

    def __init__(self, setup: ReplicaSetup) -> None:
        self.threads = Threads(setup.settings.serve.threads)
        self.ranker = setup.open("ranker", warm_ranker).ranker

    async def rank(self, query: Query, candidates: Candidates) -> Ranked:
        """Predict every task for every candidate."""
        return await self.threads.run(query.plan, self.ranker.rank, query, candidates)


class RerankerReplica:
    """Runs the last stage."""

    def __init__(self, setup: ReplicaSetup) -> None:
        self.threads = Threads(setup.settings.serve.threads)
        self.reranker = setup.open("reranker", warm_reranker).reranker

    async def rerank(self, query: Query, ranked: Ranked) -> Slate:
        """Choose and order what is shown."""
        return await self.threads.run(query.plan, self.reranker.rerank, query, ranked)


def _warm_all(equipment: Equipment) -> None:
    warm_sources(equipment)
    warm_ranker(equipment)
    warm_reranker(equipment)


def _warm_nothing(_: Equipment) -> None:
    """Do nothing: the stages are elsewhere."""
