"""What runs on replicas: thin classes around the stages, knowing nothing of how many there are."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from starlette.types import ASGIApp

from cluster.storage import Storage
from retrieval.registry import BUNDLES
from serve.caches.caches import Caches
from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.gateway import gateway_app
from serve.logs import open_log
from serve.metrics import Metrics
from serve.pipeline import RESERVED
from serve.progress import Progress, advance
from serve.readiness import log_ready
from serve.remote import PlacedStages, RemoteGroup
from serve.service import Service
from serve.topology import GATEWAY, StageName, stages_of
from serve.warming import warm

RETURN = 0.05
"""Share of the budget for the way back."""


@dataclass(frozen=True)
class ReplicaSetup:
    """What every replica is started with; naming the bundle keeps them all on the same one."""

    settings: ServeSettings
    bundle_id: str
    metrics_folder: Path

    def open(self, name: str, metrics: Metrics) -> Equipment:
        """Open the bundle and warm a deployment's stages up; requests get one core each."""
        started = time.monotonic()
        torch.set_num_threads(1)
        storage = Storage(self.settings.storage.root, self.settings.recommender)
        open_log(self.settings.serve.log, storage.local)
        caches = Caches(self.settings.serve.cache, metrics)
        folder = storage.fetch(f"{BUNDLES}/{self.bundle_id}")
        equipment = Equipment.open(self.settings, folder, caches)
        warm_up_s = warm(equipment, self.stages(name))
        bundle_s = time.monotonic() - started - warm_up_s
        log_ready(name, self.bundle_id, bundle_s=bundle_s, warm_up_s=warm_up_s)
        return equipment

    def metrics(self) -> Metrics:
        """Open the counts of this process."""
        self.metrics_folder.mkdir(parents=True, exist_ok=True)
        return Metrics(self.metrics_folder)

    def stages(self, name: str) -> tuple[StageName, ...]:
        """Return the stages that a deployment holds."""
        return stages_of(self.settings.serve.layout, name)


class GatewayReplica:
    """Speaks HTTP and runs the pipeline.

    Args:
        setup: names the bundle.
        handles: of the deployments that hold stages; the others are in this process.
    """

    def __init__(self, setup: ReplicaSetup, **handles: Any) -> None:
        metrics = setup.metrics()
        equipment = setup.open(GATEWAY, metrics)
        groups = [
            RemoteGroup(name, setup.stages(name), handle, metrics)
            for name, handle in handles.items()
        ]
        local = equipment.local(setup.stages(GATEWAY))
        self.service = Service(equipment, PlacedStages(local, groups), metrics)

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell Ray Serve what `serve.autoscaling` goes by."""
        return self.service.admission.stats()

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application, when Ray Serve has made the replica."""
        return gateway_app(self.service)


class StageReplica:
    """Runs consecutive stages.

    Args:
        setup: names the bundle.
        name: the deployment's.
    """

    def __init__(self, setup: ReplicaSetup, name: str) -> None:
        self.stages = setup.open(name, setup.metrics()).local(setup.stages(name))
        self.reserved_s = (RESERVED + RETURN) * setup.settings.serve.budget / 1000

    async def run(self, names: tuple[StageName, ...], given: Progress) -> Progress:
        """Run some of the stages on what earlier ones have made."""
        return await advance(self.stages, names, given, reserved_s=self.reserved_s)
