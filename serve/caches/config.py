"""`[serve.cache]`: what is kept, for how long, and how much of it."""

from pydantic import Field

from cluster.config import Duration, Section

MIB = 2**20


class AnswersConfig(Section):
    """`[serve.cache.answers]`: whole answers."""

    max_age: Duration = Field(default=2_000, ge=0)
    """An answer is repeated for so long at most; 0 computes every one."""
    max_entries: int = Field(default=10_000, ge=1)
    max_bytes: int = Field(default=32 * MIB, ge=0)


class VectorsConfig(Section):
    """`[serve.cache.vectors]`: users' vectors, by which candidates are retrieved."""

    max_entries: int = Field(default=10_000, ge=0)
    """0 computes one for every request."""
    max_bytes: int = Field(default=32 * MIB, ge=0)


class CacheConfig(Section):
    """`[serve.cache]`; all bounds hold for one replica."""

    answers: AnswersConfig = AnswersConfig()
    vectors: VectorsConfig = VectorsConfig()
