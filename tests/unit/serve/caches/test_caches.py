"""The bounds of a process' caches are those of the config, for all its bundles together."""

from features.stores.memory import MemoryStore
from models.runtime.programs import ExportedPrograms
from serve.caches.caches import Caches
from serve.caches.config import CacheConfig
from serve.caches.programs import CachedPrograms
from serve.metrics import Metrics

CONFIG = CacheConfig.model_validate(
    {
        "answers": {"max_age": "3s", "max_entries": 5, "max_bytes": 700},
        "vectors": {"max_entries": 6, "max_bytes": 800},
    }
)


def test_bounds_are_read() -> None:
    caches = Caches(CONFIG, Metrics())
    answers = caches.answers("a", MemoryStore(), str)
    assert answers is not None
    limits = answers.cache.limits
    assert (limits.max_entries, limits.max_bytes, limits.max_age_s) == (5, 700, 3.0)
    programs = caches.programs(ExportedPrograms())
    assert isinstance(programs, CachedPrograms)
    limits = programs.caches["user_tower"].limits
    assert (limits.max_entries, limits.max_bytes) == (6, 800)


def test_bundles_share_them() -> None:
    caches = Caches(CONFIG, Metrics())
    first, second = (caches.answers(name, MemoryStore(), str) for name in "ab")
    assert first is not None
    assert second is not None
    assert first.cache is second.cache


def test_no_age_keeps_no_answers() -> None:
    config = CacheConfig.model_validate({"answers": {"max_age": 0}})
    assert Caches(config, Metrics()).answers("a", MemoryStore(), str) is None
