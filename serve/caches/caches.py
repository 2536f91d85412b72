"""The caches of one process, whatever bundles it holds."""

from collections.abc import Callable
from typing import Any

from features.stores.store import Store
from models.runtime.programs import Programs
from serve.caches.answers import AnswerCache
from serve.caches.cache import Cache, Limits, Observer
from serve.caches.config import CacheConfig
from serve.caches.programs import CachedPrograms

USER_TOWER = "user_tower"
"""Of a bundle's programs, the one worth it: it takes 0.6 ms compiled, its key 0.05 ms. The ranker's
user side takes 0.28 ms, its key 0.08 ms: most requests would pay more than some would save."""


class Caches:
    """Bounds what all bundles of a process keep together.

    Args:
        config: the bounds.
        observer: hears of hits, misses and evictions.
    """

    def __init__(self, config: CacheConfig, observer: Observer) -> None:
        answers, vectors = config.answers, config.vectors
        self._answers: Cache[bytes] = Cache(
            "answers",
            Limits(answers.max_entries, answers.max_bytes, answers.max_age / 1000),
            observer,
        )
        self._vectors: Cache[Any] | None = None
        if vectors.max_entries:
            limits = Limits(vectors.max_entries, vectors.max_bytes)
            self._vectors = Cache("vectors", limits, observer)

    def answers(
        self, bundle_id: str, store: Store, generation: Callable[[], str]
    ) -> AnswerCache | None:
        """Return the cache of one bundle's answers; None where every answer is computed."""
        if self._answers.limits.max_age_s <= 0:
            return None
        return AnswerCache(bundle_id, store, generation, self._answers)

    def programs(self, programs: Programs) -> Programs:
        """Return what opens programs, of which the user tower remembers vectors."""
        if self._vectors is None:
            return programs
        return CachedPrograms(programs, {USER_TOWER: self._vectors})
