"""The sections `[dataset]`, `[[tasks]]`, `[features]` and what retrieval learns from."""

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from cluster.config import Duration, Section, Settings

Kind = Literal["categorical", "multi", "numeric"]
Owner = Literal["user", "item", "context"]


class DatasetConfig(Section):
    """`[dataset]`: the adapter and what it reads."""

    format: Literal["synthetic", "movielens", "kuairand", "parquet"]
    path: str | None = None
    min_item_events: int = Field(default=1, ge=1)
    """Items with fewer events are dropped together with their events (5-core style filters)."""
    seed: int = 0
    users: int = Field(default=5_000, ge=1)
    items: int = Field(default=2_000, ge=1)
    events: int = Field(default=200_000, ge=1)
    """Sizes of the synthetic world; other formats have their own."""

    @model_validator(mode="after")
    def _needs_path(self) -> "DatasetConfig":
        if self.format != "synthetic" and not self.path:
            raise ValueError(f"format {self.format!r} needs a path")
        return self


class TaskConfig(Section):
    """One `[[tasks]]` entry: what the ranker predicts and how much it counts."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    column: str
    kind: Literal["binary", "watch_time"] = "binary"
    weight: float = Field(default=1.0, ge=0)


class SplitConfig(Section):
    """`[features.split]`: which events train, which validate, which test."""

    kind: Literal["time", "last_item", "column"] = "time"
    validation: Duration = 86_400_000
    test: Duration = 86_400_000


class RatesConfig(Section):
    """`[features.rates]`: point-in-time counts and rates."""

    entities: tuple[str, ...] | None = None
    """Columns as "user", "item", "item.<attribute>" or "context.<column>"; None takes all
    single-valued and multi-valued categorical item attributes and all context columns."""
    interval: Duration = 86_400_000
    smoothing: float = Field(default=20.0, gt=0)


class FeaturesConfig(Section):
    """`[features]`: columns, vocabularies, histories."""

    columns: dict[str, Kind | Literal["ignore"]] = {}
    """Overrides of the kinds inferred from Arrow types, keyed "user.<c>", "item.<c>",
    "context.<c>"."""
    context: tuple[str, ...] = ()
    """Event columns known before the outcome. String columns are context without being named;
    bool and number columns are outcomes, never inputs, unless named here."""
    min_count: int = Field(default=2, ge=1)
    """Values seen fewer times in training share the out-of-vocabulary row 0."""
    max_values: int = Field(default=8, ge=1)
    """Values kept of a multi-valued attribute."""
    history_length: int = Field(default=50, ge=1)
    utc_offset: Duration = 0
    """Shift that makes UTC times local, for whole days and hours of the day."""
    block_rows: int = Field(default=500_000, ge=1)
    """Events that a preparation task holds at a time."""
    split: SplitConfig = SplitConfig()
    rates: RatesConfig = RatesConfig()


class RetrievalTarget(Section):
    """The keys of `[retrieval]` that preparation and training read."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    positive: str | None = None
    """Name of the binary task that retrieval learns from; None takes the first."""
    exclude_seen: bool = True
    """Items that the user has had a positive event with are not recommended again."""


class FeatureSettings(Settings):
    """What `python -m features` reads."""

    dataset: DatasetConfig
    tasks: tuple[TaskConfig, ...] = Field(min_length=1)
    features: FeaturesConfig = FeaturesConfig()
    retrieval: RetrievalTarget = RetrievalTarget()

    @property
    def positive(self) -> str:
        """The name of the task that retrieval learns from."""
        return self.retrieval.positive or self.tasks[0].name

    @property
    def preparation(self) -> dict[str, Any]:
        """Everything in a config that prepared data depends on."""
        return {
            "dataset": self.dataset.model_dump(mode="json"),
            "tasks": [task.model_dump(mode="json") for task in self.tasks],
            "features": self.features.model_dump(mode="json"),
            "positive": self.positive,
        }

    @model_validator(mode="after")
    def _tasks_fit(self) -> "FeatureSettings":
        names = [task.name for task in self.tasks]
        if len(set(names)) != len(names):
            raise ValueError(f"task names repeat: {', '.join(names)}")
        positive = next((task for task in self.tasks if task.name == self.positive), None)
        if positive is None:
            raise ValueError(f"retrieval.positive names no task: {self.positive!r}")
        if positive.kind != "binary":
            raise ValueError(f"retrieval.positive must be a binary task: {self.positive!r}")
        return self
