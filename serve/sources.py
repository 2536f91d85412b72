"""The second and third stage: candidates from the bundle's sources, and what may be shown."""

import time

import numpy as np

from models.bundle import Bundle
from retrieval.config import RetrievalConfig
from retrieval.retriever import Retriever
from serve.departures import at_retrieval
from serve.filters import is_permitted
from serve.stages import Candidates, Query, StageReport, check_bundle
from serve.trail import Trail


class Sources:
    """Collects candidates of one bundle.

    Args:
        bundle: names the version.
        retriever: asks the sources and merges what they bring.
    """

    def __init__(self, bundle: Bundle, retriever: Retriever) -> None:
        self.bundle = bundle
        self.retriever = retriever

    @classmethod
    def open(cls, bundle: Bundle, config: RetrievalConfig) -> "Sources":
        """Open the bundle's index and lists."""
        return cls(bundle, Retriever.open(bundle, config))

    def retrieve(self, query: Query) -> Candidates:
        """Return what may be shown, nearest to the user's vector first."""
        check_bundle(self.bundle.id, query)
        started = time.perf_counter()
        found = self.retriever.retrieve(
            query.inputs, now_ms=query.now_ms, excluded=query.excluded, allowed=query.allowed
        )
        retrieved = time.perf_counter()
        permitted = is_permitted(found.rows, query.excluded, query.allowed)
        order = np.argsort(-found.similarity, kind="stable")
        order = order[permitted[order]][: _limit(query)]
        filtered = time.perf_counter()
        num_found, num_kept = len(found), len(order)
        return Candidates(
            bundle=self.bundle.id,
            rows=found.rows[order],
            scores=found.similarity[order].astype(np.float32),
            sources=found.source[order],
            source_names=found.names,
            reports=(
                StageReport("retrieve", 1000 * (retrieved - started), num_found, num_found),
                StageReport("filter", 1000 * (filtered - retrieved), num_found, num_kept),
            ),
            trail=Trail.of(found, order) if query.explain else None,
            departures=at_retrieval(
                query.asked, found, found.rows[order], vectors=self.retriever.vectors
            ),
        )


def _limit(query: Query) -> int | None:
    """Return how many candidates go on; None for all."""
    most = query.plan.max_candidates
    return most if most is None else max(most, query.num_items)
