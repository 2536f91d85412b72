"""The schema: every column that the models see, and the fingerprint that artifacts carry."""

from functools import cached_property
from pathlib import Path

from cluster.config import Section
from cluster.storage import content_hash
from features.config import Kind, Owner, TaskConfig

SCHEMA_FILE = "schema.json"


class Feature(Section):
    """One input column after encoding.

    `rows` counts embedding rows including row 0 (unknown); numeric features are
    `(signed_log1p(x) - mean) / std`, with 0 where the value is missing.
    """

    name: str
    owner: Owner
    kind: Kind
    rows: int = 0
    mean: float = 0.0
    std: float = 1.0


class RateEntity(Section):
    """A column whose point-in-time counts are inputs: "user", "item" or an encoded feature."""

    name: str
    owner: Owner
    feature: str | None = None
    """The `Feature` whose codes are counted; None counts the user or item itself."""


class Schema(Section):
    """What one version of a recommender reads, in the order of the encoded columns."""

    recommender: str
    features: tuple[Feature, ...]
    entities: tuple[RateEntity, ...]
    tasks: tuple[TaskConfig, ...]
    base_rates: tuple[float, ...]
    """Per task, over the training split: positive share, or mean log1p for watch time."""
    positive: str
    history_length: int
    max_values: int
    interval_ms: int
    utc_offset_ms: int
    smoothing: float
    has_time: bool
    """False for order-only data: gaps, ages, hours and weekdays are then constant."""
    vocabularies: str
    """Hash over all vocabularies' content."""

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the schema; artifacts with different ones do not fit together."""
        return content_hash(self.model_dump(mode="json"))

    def select(self, owner: Owner, kind: Kind) -> tuple[Feature, ...]:
        """Return the features of one owner and kind, in column order."""
        return tuple(f for f in self.features if f.owner == owner and f.kind == kind)

    def entities_of(self, owner: Owner) -> tuple[RateEntity, ...]:
        """Return the rate entities of one owner, in column order."""
        return tuple(e for e in self.entities if e.owner == owner)

    def task_index(self, name: str) -> int:
        """Return a task's column in the labels."""
        return [task.name for task in self.tasks].index(name)

    def save(self, folder: Path) -> None:
        """Write `schema.json`."""
        (folder / SCHEMA_FILE).write_text(self.model_dump_json(indent=1))

    @classmethod
    def open(cls, folder: Path) -> "Schema":
        """Read `schema.json`."""
        return cls.model_validate_json((folder / SCHEMA_FILE).read_text())
