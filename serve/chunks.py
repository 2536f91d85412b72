"""Makes an edition chunk by chunk, in a process that opens the bundle once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from cluster.storage import Storage
from features.vocabulary import canonical
from models.bundle import Bundle
from retrieval.registry import BUNDLES
from serve.bulk import Bulk, Terms
from serve.config import ServeSettings
from serve.edition import Edition
from serve.equipment import Equipment
from serve.messages import Answer
from serve.part import part_table
from serve.precomputed import Precomputed
from serve.runtime import open_programs
from serve.shared import Shared

FACT = "precomputed"
"""What the online store tells of the edition that was written last."""


@dataclass(frozen=True)
class Order:
    """What is to be made, the same for every process that helps."""

    settings: ServeSettings
    bundle_id: str
    edition: Edition
    terms: Terms
    is_stored: bool
    """Whether the answers go into the online store too."""


class Chunks:
    """Answers the users of chunks.

    Args:
        order: what is to be made.
        equipment: of the order's bundle; None opens it.
    """

    def __init__(self, order: Order, equipment: Equipment | None = None) -> None:
        self.order = order
        self.equipment = equipment or _equipment(order)
        self.bulk = Bulk(self.equipment, order.terms)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Make the row's `chunk`; return what `make` tells, as JSON."""
        return {"made": json.dumps(self.make(int(row["chunk"])))}

    def make(self, chunk: int) -> dict[str, Any]:
        """Answer a chunk's users; the chunk is done when its file appears, after all else.

        Returns:
            `users`, how many of them are `degraded`, and the stages' `stage_ms`.
        """
        edition, made_ms = self.order.edition, self.order.terms.now_ms
        user_ids = edition.user_ids(chunk)
        answers = self.bulk.answers(user_ids.to_pylist())
        if self.order.is_stored:
            self._store(user_ids.to_pylist(), answers)
        edition.keep(chunk, part_table(self.equipment.bundle, user_ids, answers, made_ms=made_ms))
        return {
            "users": len(answers),
            "degraded": sum(answer.degraded is not None for answer in answers),
            "stage_ms": self.bulk.tally.take(),
        }

    def _store(self, user_ids: Sequence[int | str], answers: Sequence[Answer]) -> None:
        """Keep what misses nothing; on disk before the chunk counts as done."""
        made_ms = self.order.terms.now_ms
        kept = {
            canonical(user_id): _precomputed(answer, made_ms)
            for user_id, answer in zip(user_ids, answers, strict=True)
            if answer.degraded is None
        }
        self.equipment.precomputed.keep(kept)
        facts: Mapping[str, Any] = {"bundle": self.order.bundle_id, "made_ms": made_ms}
        self.equipment.users.store.state(FACT, json.dumps(facts))


def _equipment(order: Order) -> Equipment:
    """Open the bundle, with one program for all users: compiled ones sum in another order."""
    torch.set_num_threads(1)
    settings = order.settings
    storage = Storage(settings.storage.root, settings.recommender)
    programs = open_programs(settings.serve.runtime, storage, num_threads=1, is_patient=True)
    bundle = Bundle(storage.fetch(f"{BUNDLES}/{order.bundle_id}"), programs)
    return Equipment(settings, bundle, Shared(settings))


def _precomputed(answer: Answer, made_ms: int) -> Precomputed:
    item_ids = [canonical(item.item_id) for item in answer.items]
    return Precomputed(answer.bundle, made_ms, item_ids, [item.score for item in answer.items])
