"""`[retrieval]`: index, recall check, candidate sources and how many bundles are kept."""

from typing import Literal

from pydantic import ConfigDict, Field, model_validator

from cluster.config import Duration, Section
from features.config import FeatureSettings, RetrievalTarget


class IndexConfig(Section):
    """`[retrieval.index]`: how item vectors are searched."""

    kind: Literal["auto", "exact", "ivf"] = "auto"
    ivf_threshold: int = Field(default=200_000, ge=1)
    """Items above which "auto" takes the IVF index."""
    min_recall: float = Field(default=0.95, gt=0, le=1)
    """Of the exact top candidates; an index below it is not published."""
    sampled_users: int = Field(default=256, ge=2)
    """Users whose vectors tune and check the index."""


class QuotasConfig(Section):
    """`[retrieval.quotas]`: candidates by source, in order of precedence; 0 switches one off."""

    two_tower: int = Field(default=400, ge=0, le=10_000)
    popular: int = Field(default=75, ge=0, le=10_000)
    fresh: int = Field(default=25, ge=0, le=10_000)

    @property
    def total(self) -> int:
        """Candidates of one request."""
        return self.two_tower + self.popular + self.fresh

    @model_validator(mode="after")
    def _ask_for_some(self) -> "QuotasConfig":
        if not self.total:
            raise ValueError("every quota is 0")
        return self


class PopularConfig(Section):
    """`[retrieval.popular]`."""

    half_life: Duration = 604_800_000
    """A positive this old counts half; order-only data is not decayed."""
    context: str | None = None
    """A context column whose values have popular items of their own."""


class FreshConfig(Section):
    """`[retrieval.fresh]`."""

    max_age: Duration = 2_592_000_000
    """Items published longer ago are not fresh."""


class RankerPrecision(Section):
    """`[retrieval.ranker]`: the precision in which the published bundle ranks."""

    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs the matrix products over candidates in bfloat16: faster on CPUs that have it
    (AVX512_BF16, AMX) and on GPUs."""
    max_auc_loss: float = Field(default=0.001, ge=0, lt=1)
    """Share of a task's AUC on the validation split that may be lost; more is not published."""
    checked_rows: int = Field(default=5_000, ge=1)
    """Validation impressions that this is judged on, evenly spaced."""


class RetrievalConfig(RetrievalTarget):
    """`[retrieval]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: IndexConfig = IndexConfig()
    quotas: QuotasConfig = QuotasConfig()
    popular: PopularConfig = PopularConfig()
    fresh: FreshConfig = FreshConfig()
    ranker: RankerPrecision = RankerPrecision()
    keep_bundles: int = Field(default=5, ge=1)
    """Newest published bundles kept for rollback, besides those with an alias."""


class TrainedModels(Section):
    """The key of `[train]` that says which models a bundle has to hold."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    models: tuple[Literal["retrieval", "ranking"], ...] = ("retrieval", "ranking")

    @model_validator(mode="after")
    def _has_retrieval(self) -> "TrainedModels":
        if "retrieval" not in self.models:
            raise ValueError("models must name 'retrieval': a bundle needs item vectors")
        return self


class RetrievalSettings(FeatureSettings):
    """What `python -m retrieval` reads."""

    retrieval: RetrievalConfig = RetrievalConfig()
    train: TrainedModels = TrainedModels()
