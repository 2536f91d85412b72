"""Synthetic passes through the stages, so that a replica's first request is as fast as others."""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from features.assembly import GAP_ROWS
from features.stores.memory import MemoryStore
from features.stores.record import UserEvent
from features.stores.recorder import Recorder
from serve.clock import WallClock
from serve.equipment import Equipment
from serve.hydration import Hydrator, UserSource
from serve.messages import Request
from serve.stages import Candidates, Query, Ranked
from serve.topology import StageName

MIN_PASSES = 3
MAX_PASSES = 20
STEADY = 0.8
"""Warming ends with the first pass that takes no less than this share of the best before it."""
USER_ID = "warm-up"

Pass = Callable[[], object]


def warm(equipment: Equipment, stages: Sequence[StageName]) -> float:
    """Open each of the stages and run it over and over, until that makes it no faster.

    Returns:
        The seconds of running, without those of opening.
    """
    seconds = 0.0
    for stage in stages:
        one_pass = PASSES[stage](equipment)
        started = time.perf_counter()
        repeat(one_pass)
        seconds += time.perf_counter() - started
    return seconds


def repeat(one_pass: Pass, clock: Callable[[], float] = time.perf_counter) -> int:
    """Repeat a pass until it takes no less time than before; return how often it was run."""
    best_s = math.inf
    for number in range(1, MAX_PASSES + 1):
        started = clock()
        one_pass()
        seconds = clock() - started
        if number >= MIN_PASSES and seconds >= STEADY * best_s:
            return number
        best_s = min(best_s, seconds)
    return MAX_PASSES


def _hydration(equipment: Equipment) -> Pass:
    """Look up a user in the online store."""
    return partial(equipment.hydrator.hydrate, Request(user_id=USER_ID))


def _retrieval(equipment: Equipment) -> Pass:
    """Search."""
    queries, sources = _queries(equipment), equipment.sources
    return lambda: sources.retrieve(next(queries))


def _ranking(equipment: Equipment) -> Pass:
    """Rank as many candidates as requests will bring, alone and with as many as are batched."""
    queries, candidates = _queries(equipment), _candidates(equipment)
    ranker = equipment.ranker

    def one_pass() -> None:
        ranker.rank(next(queries), candidates)
        if ranker.max_batch > 1:
            ranker.rank_together([(next(queries), candidates) for _ in range(ranker.max_batch)])

    return one_pass


def _reranking(equipment: Equipment) -> Pass:
    """Choose among unranked candidates."""
    query, ranked = synthetic_query(equipment), Ranked.unranked(_candidates(equipment))
    return partial(equipment.reranker.rerank, query, ranked)


def _queries(equipment: Equipment) -> Iterator[Query]:
    """Yield queries of one user at many moments: equal ones would be answered from caches."""
    query = synthetic_query(equipment)
    gaps = query.inputs["history_gaps"]
    for code in itertools.cycle(range(1, GAP_ROWS)):
        inputs = {**query.inputs, "history_gaps": np.where(gaps > 0, code, 0)}
        yield replace(query, inputs=inputs)


def synthetic_query(equipment: Equipment) -> Query:
    """Hydrate a user who liked as many items as the models read.

    Their store is this function's own: not every replica has the online store.
    """
    bundle = equipment.bundle
    schema, clock = bundle.schema, WallClock()
    users = UserSource(MemoryStore(), Recorder(schema), clock)
    now_ms = clock.now_ms()
    item_ids = list(bundle.catalogue.rows_by_id)[: schema.history_length]
    liked = [
        UserEvent(item_id, now_ms - place - 1, {schema.positive: 1.0})
        for place, item_id in enumerate(item_ids)
    ]
    users.store.update({USER_ID: lambda record: users.recorder.appended(record, liked)})
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


PASSES: Mapping[StageName, Callable[[Equipment], Pass]] = {
    "hydrate": _hydration,
    "retrieve": _retrieval,
    "rank": _ranking,
    "rerank": _reranking,
}
