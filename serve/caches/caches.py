"""The caches of one process, whatever bundles it holds."""

from collections.abc import Callable
from typing import Any

from features.stores.store import Store
from models.runtime.programs import Programs
from serve.caches.answers import AnswerCache
from serve.caches.cache import Cache, Limits, Observer
from serve.caches.config import CacheConfig
from serve.caches.programs import CachedPrograms

PROGRAMS = ("user_tower", "ranker_user")
"""Those that depend on nothing but the user and the situation."""


class Caches:
    """Bounds what all bundles of a process keep together.

    Args:
        config: the bounds.
        observer: hears of hits, misses and evictions.
    """

    def __init__(self, config: CacheConfig, observer: Observer) -> None:
        answers, users = config.answers, config.users
        self._answers: Cache[bytes] = Cache(
            "answers",
            Limits(answers.max_entries, answers.max_bytes, answers.max_age / 1000),
            observer,
        )
        limits = Limits(users.max_entries, users.max_bytes)
        self.by_program: dict[str, Cache[Any]] = {
            name: Cache(name, limits, observer) for name in PROGRAMS if users.max_entries
        }

    def answers(
        self, bundle_id: str, store: Store, generation: Callable[[], str]
    ) -> AnswerCache | None:
        """Return the cache of one bundle's answers; None where every answer is computed."""
        if self._answers.limits.max_age_s <= 0:
            return None
        return AnswerCache(bundle_id, store, generation, self._answers)

    def programs(self, programs: Programs) -> Programs:
        """Return what opens programs that remember what they made of a user."""
        return CachedPrograms(programs, self.by_program)
