"""Settings under which every answer is computed, for loads that ask for the same users again."""

from serve.caches.config import AnswersConfig, CacheConfig, VectorsConfig
from serve.config import ServeSettings

OFF = CacheConfig(answers=AnswersConfig(max_age=0), vectors=VectorsConfig(max_entries=0))
OVERRIDES = ("serve.cache.answers.max_age=0", "serve.cache.vectors.max_entries=0")


def uncached(settings: ServeSettings) -> ServeSettings:
    """Return settings without caches."""
    serve = settings.serve.model_copy(update={"cache": OFF})
    return settings.model_copy(update={"serve": serve})
