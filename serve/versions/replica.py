"""The replica that coordinates which bundle answers: a thin class that follows the registry."""

import asyncio

from cluster.storage import Storage
from retrieval.registry import BUNDLES
from serve.deployments import ReplicaSetup
from serve.preparation import fill_store
from serve.versions.coordinator import Coordinator
from serve.versions.orders import Orders, Report
from serve.versions.refill import Refill
from serve.versions.watch import RegistryWatch, UnreachableError


class VersionsReplica:
    """Coordinates which bundle answers.

    Args:
        setup: names the bundle that replicas begin with.
    """

    def __init__(self, setup: ReplicaSetup) -> None:
        settings = setup.settings
        self.settings = settings
        self.coordinator = Coordinator(settings.serve.rollout, setup.bundle_id)
        self.storage = Storage(settings.storage.root, settings.recommender)
        self.watch = RegistryWatch(self.storage)
        self.refill = Refill(self.coordinator, self._fill)
        self.interval_s = settings.serve.rollout.interval / 1000
        self.task = asyncio.ensure_future(self._watch())

    async def sync(self, report: Report) -> Orders | None:
        """Hear a replica and tell it what to do."""
        return self.coordinator.sync(report)

    def check_health(self) -> None:
        """Fail when the registry is not looked at any more."""
        if self.task.done():
            self.task.result()

    def _fill(self, bundle_id: str) -> int:
        return fill_store(self.settings, self.storage.fetch(f"{BUNDLES}/{bundle_id}"))

    async def _watch(self) -> None:
        while True:
            try:
                self.coordinator.observe(await asyncio.to_thread(self.watch.look))
                for bundle_id, reason in list(self.coordinator.refusals.items()):
                    await asyncio.to_thread(self.watch.refuse, bundle_id, reason)
            except UnreachableError as error:
                self.coordinator.lose_sight(str(error))
            self.refill.step()
            await asyncio.sleep(self.interval_s)
