"""Synthetic passes through the stages, so that a replica's first request is as fast as others."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from features.stores.memory import MemoryStore
from features.stores.recorder import Recorder
from serve.clock import WallClock
from serve.equipment import Equipment
from serve.hydration import Hydrator, UserSource
from serve.messages import Request
from serve.stages import Candidates, Query, Ranked
from serve.topology import StageName

PASSES = 3
USER_ID = "warm-up"


def warm(equipment: Equipment, stages: Sequence[StageName]) -> None:
    """Run each of the stages some times over."""
    for stage in stages:
        WARMING[stage](equipment)


def warm_hydrator(equipment: Equipment) -> None:
    """Look up a user, some times over."""
    for _ in range(PASSES):
        equipment.hydrator.hydrate(Request(user_id=USER_ID))


def warm_sources(equipment: Equipment) -> None:
    """Search, some times over."""
    query = _query(equipment)
    for _ in range(PASSES):
        equipment.sources.retrieve(query)


def warm_ranker(equipment: Equipment) -> None:
    """Rank as many candidates as requests will bring, some times over."""
    query, candidates = _query(equipment), _candidates(equipment)
    for _ in range(PASSES):
        equipment.ranker.rank(query, candidates)


def warm_reranker(equipment: Equipment) -> None:
    """Choose among unranked candidates, some times over."""
    query, ranked = _query(equipment), Ranked.unranked(_candidates(equipment))
    for _ in range(PASSES):
        equipment.reranker.rerank(query, ranked)


def _query(equipment: Equipment) -> Query:
    """Hydrate an unknown user from a store of its own: not every replica has the online store."""
    bundle = equipment.bundle
    users = UserSource(MemoryStore(), Recorder(bundle.schema), WallClock())
    hydrator = Hydrator(bundle, users, counts=equipment.counts, exclude_seen=False)
    return hydrator.hydrate(Request(user_id=USER_ID))


def _candidates(equipment: Equipment) -> Candidates:
    """Return the first items of the catalogue."""
    total = equipment.settings.retrieval.quotas.total
    num_items = min(total, equipment.bundle.catalogue.num_items)
    return Candidates(
        bundle=equipment.bundle.id,
        rows=np.arange(1, num_items + 1),
        scores=np.linspace(1.0, 0.0, num_items, dtype=np.float32),
        sources=np.zeros(num_items, np.int64),
        source_names=("warm-up",),
    )


WARMING: Mapping[StageName, Callable[[Equipment], None]] = {
    "hydrate": warm_hydrator,
    "retrieve": warm_sources,
    "rank": warm_ranker,
    "rerank": warm_reranker,
}
