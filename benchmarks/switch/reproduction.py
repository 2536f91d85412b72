"""Answers computed again, from the bundle that each of them names."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from cluster.storage import Storage
from features.vocabulary import canonical
from retrieval.registry import BUNDLES
from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.messages import Request
from serve.shared import Shared
from serve.stages import Candidates

RELATIVE = 2e-3
ABSOLUTE = 2e-4
"""An answer does not tell its instant to the millisecond, and its models read the time."""


@dataclass(frozen=True)
class Kept:
    """An answer and when it came: wall clock, milliseconds since 1970."""

    request: dict[str, Any]
    answer: dict[str, Any]
    received_ms: int


class Reproduction:
    """Opens bundles in this process, over the online store of a service on this host.

    Args:
        settings: of the service.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self._storage = Storage(settings.storage.root, settings.recommender)
        self.shared = Shared(settings)
        self._opened: dict[str, Equipment] = {}

    def is_exact(self, kept: Kept, bundle_id: str | None = None) -> bool:
        """Tell whether a bundle gives every item of an answer its score and its predictions.

        Args:
            kept: the answer, with nothing missing.
            bundle_id: the bundle; None takes the one that the answer names.
        """
        equipment = self._equipment(bundle_id or kept.answer["bundle"])
        items = kept.answer["items"]
        known = equipment.bundle.catalogue.rows_by_id
        rows = np.asarray([known.get(canonical(item["item_id"]), 0) for item in items], np.int64)
        if not len(rows) or not rows.all():
            return False
        query = equipment.hydrator.hydrate(
            Request.model_validate(kept.request), self._instant_ms(equipment, kept.received_ms)
        )
        zeros = np.zeros(len(rows))
        candidates = Candidates(
            equipment.bundle.id, rows, zeros.astype(np.float32), zeros.astype(np.int64), ("any",)
        )
        ranked = equipment.ranker.rank(query, candidates)
        scores = [item["score"] for item in items]
        predictions = [[item["predictions"].get(task) for task in ranked.tasks] for item in items]
        pairs = (
            (equipment.reranker.values(ranked), scores),
            (ranked.predictions, predictions),
        )
        return all(
            np.allclose(mine, np.asarray(theirs, np.float32), rtol=RELATIVE, atol=ABSOLUTE)
            for mine, theirs in pairs
        )

    def _equipment(self, bundle_id: str) -> Equipment:
        if bundle_id not in self._opened:
            folder = self._storage.fetch(f"{BUNDLES}/{bundle_id}")
            self._opened[bundle_id] = Equipment.open(self.settings, folder, self.shared)
        return self._opened[bundle_id]

    def _instant_ms(self, equipment: Equipment, wall_ms: int) -> int:
        """Return what the service's clock told when the wall's told that."""
        return equipment.users.clock.now_ms() - (time.time_ns() // 1_000_000 - wall_ms)
