"""What runs on replicas: thin classes around the stages, knowing nothing of how many there are."""

import asyncio
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from starlette.types import ASGIApp

from cluster.storage import Storage
from retrieval.registry import BUNDLES
from serve.caches.caches import Caches
from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.gateway import gateway_app
from serve.local import LocalStages
from serve.logs import open_log
from serve.metrics import Metrics
from serve.progress import Progress
from serve.readiness import log_ready
from serve.remote import PlacedStages, RemoteGroup
from serve.service import Service
from serve.shared import Shared
from serve.station import Station
from serve.topology import GATEWAY, StageName, stages_of
from serve.versions.follower import SYNC_S, Follower
from serve.versions.orders import Orders, Report
from serve.warming import warm

PATIENCE_S = 2.0
"""A coordinator that does not answer within this time is done without."""


@dataclass(frozen=True)
class ReplicaSetup:
    """What every replica is started with; the bundle is the champion of that moment."""

    settings: ServeSettings
    bundle_id: str
    metrics_folder: Path

    def metrics(self) -> Metrics:
        """Open the counts of this process."""
        self.metrics_folder.mkdir(parents=True, exist_ok=True)
        return Metrics(self.metrics_folder)

    def stages(self, name: str) -> tuple[StageName, ...]:
        """Return the stages that a deployment holds."""
        return stages_of(self.settings.serve.layout, name)


class Opener:
    """Opens bundles in one replica, for which requests get one core each.

    Args:
        setup: the replica's.
        name: of its deployment.
        versions: the coordinator's handle.
    """

    def __init__(self, setup: ReplicaSetup, name: str, versions: Any) -> None:
        torch.set_num_threads(1)
        self.setup = setup
        self.name = name
        self.names = setup.stages(name)
        self.settings = setup.settings.sized(name)
        self.storage = Storage(setup.settings.storage.root, setup.settings.recommender)
        open_log(setup.settings.serve.log, self.storage.local)
        self.metrics = setup.metrics()
        config = self.settings.serve
        caches, tell = Caches(config.cache, self.metrics), self.metrics.observe_batch
        self._shared = Shared(self.settings, caches, device=config.device(name), tell=tell)
        self._versions = versions

    async def first(self) -> tuple[Equipment, Orders | None]:
        """Open the bundle that the replica begins with, which the coordinator may know.

        Meanwhile the replica reports, so that no other bundle takes over without it.

        Returns:
            The bundle, and what the coordinator said last.
        """
        report = Report(uuid.uuid4().hex, self.name)
        orders = await self.ask(report)
        first = self.setup.bundle_id if orders is None else orders.champion
        opening = asyncio.ensure_future(asyncio.to_thread(self.open, first))
        while not (await asyncio.wait([opening], timeout=SYNC_S))[0]:
            orders = await self.ask(report)
        return opening.result(), orders

    def open(self, bundle_id: str) -> Equipment:
        """Open a bundle and warm the replica's stages up.

        Only what the service begins with does not wait for programs that are being compiled.
        """
        started = time.monotonic()
        is_patient = bundle_id != self.setup.bundle_id
        folder = self.storage.fetch(f"{BUNDLES}/{bundle_id}")
        equipment = Equipment.open(self.settings, folder, self._shared, is_patient=is_patient)
        warm_up_s = warm(equipment, self.names)
        bundle_s = time.monotonic() - started - warm_up_s
        log_ready(self.name, bundle_id, bundle_s=bundle_s, warm_up_s=warm_up_s)
        return equipment

    def local(self, bundle_id: str) -> LocalStages:
        """Open the stages of a bundle that run here."""
        return self.open(bundle_id).local(self.names)

    async def ask(self, report: Report) -> Orders | None:
        """Report to the coordinator; None when it does not answer."""
        try:
            answer = self._versions.sync.remote(report)
            orders: Orders | None = await asyncio.wait_for(answer, PATIENCE_S)
        except (RayError, RayServeException, TimeoutError):
            return None
        return orders


class GatewayReplica:
    """Speaks HTTP and runs the pipeline.

    Args:
        setup: names the bundle.
        versions: the coordinator's handle.
        handles: of the deployments that hold stages; the others are in this process.
    """

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, setup: ReplicaSetup, versions: Any, **handles: Any
    ) -> None:
        opener = Opener(setup, GATEWAY, versions)
        metrics = opener.metrics
        groups = [
            RemoteGroup(name, setup.stages(name), handle, metrics)
            for name, handle in handles.items()
        ]

        def placed(equipment: Equipment) -> PlacedStages:
            return PlacedStages(equipment.local(opener.names), groups, equipment.bundle.id)

        def reopen(bundle_id: str) -> tuple[Equipment, PlacedStages]:
            equipment = opener.open(bundle_id)
            return equipment, placed(equipment)

        first, orders = await opener.first()
        self.service = Service(first, placed(first), metrics, reopen)
        if orders is not None:
            self.service.follow(orders)
            await self.service.lineup.opened()
        self.follower = Follower(self.service, opener.ask)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell Ray Serve what `serve.autoscaling` goes by."""
        return self.service.admission.stats()

    def check_health(self) -> None:
        """Fail when the replica follows the coordinator no more."""
        self.follower.check()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application, when Ray Serve has made the replica."""
        return gateway_app(self.service)


class StageReplica:
    """Runs consecutive stages of whichever bundle a request names.

    Args:
        setup: names the first bundle.
        name: the deployment's.
        versions: the coordinator's handle.
    """

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, setup: ReplicaSetup, name: str, versions: Any
    ) -> None:
        opener = Opener(setup, name, versions)
        first, orders = await opener.first()
        self.station = Station(opener.settings.serve, name, opener.local)
        self.station.lineup.held[first.bundle.id] = first.local(opener.names)
        if orders is not None:
            self.station.follow(orders)
            await self.station.lineup.opened()
        self.follower = Follower(self.station, opener.ask)

    async def run(self, names: tuple[StageName, ...], given: Progress) -> Progress:
        """Run some of the stages on what earlier ones have made."""
        return await self.station.run(names, given)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell Ray Serve what `serve.autoscaling` goes by."""
        return self.station.workload.stats()

    def check_health(self) -> None:
        """Fail when the replica follows the coordinator no more."""
        self.follower.check()
