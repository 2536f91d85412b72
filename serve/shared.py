"""What all bundles of one process have in common: online store, caches, threads, device."""

from collections.abc import Callable
from functools import cached_property

import torch

from cluster.storage import Storage
from features.stores.lmdb import LmdbStore
from features.stores.store import Store
from serve.caches.caches import Caches
from serve.config import ServeSettings
from serve.runtime import CPU
from serve.threads import Threads, unheard

ONLINE = "online"


class Shared:
    """Opened when it is first asked for, once.

    Args:
        settings: of the recommender.
        caches: of answers and of what models make of a user; None computes everything.
        device: where rankers run.
        tell: hears how many requests each call of a ranker was for.
    """

    def __init__(
        self,
        settings: ServeSettings,
        caches: Caches | None = None,
        *,
        device: torch.device = CPU,
        tell: Callable[[int], None] = unheard,
    ) -> None:
        self.settings = settings
        self.caches = caches
        self.device = device
        self._tell = tell

    @cached_property
    def store(self) -> Store:
        """The online store, which lies on this host whatever the storage."""
        storage = Storage(self.settings.storage.root, self.settings.recommender)
        interval_s = self.settings.serve.store.sync_interval / 1000
        return LmdbStore(storage.local / ONLINE, sync_interval_s=interval_s)

    @cached_property
    def threads(self) -> Threads:
        """Runs the stages: so many at a time, whatever bundle they are of."""
        return Threads(self.settings.serve.threads, tell=self._tell)
