"""Preparation of small in-memory data without Ray: the same passes, run one after another."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.storage import Storage
from features.config import FeatureSettings
from features.datasets.adapter import Block, Source
from features.datasets.checked import Checked
from features.examples import Examples
from features.preparation import Preparation
from features.tasks import Task
from features.workspace import Workspace


@dataclass(frozen=True)
class TableSource:
    """A source over a table in memory."""

    events: pa.Table

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Yield slices."""
        for start in range(0, self.events.num_rows, max_rows):
            yield Block(self.events.slice(start, max_rows), {})


@dataclass(frozen=True)
class TableAdapter:
    """A data set of tables in memory; each table of events is a source."""

    events: Sequence[pa.Table]
    item_table: pa.Table | None = None
    user_table: pa.Table | None = None
    has_time: bool = True

    @property
    def schema(self) -> pa.Schema:
        """The columns of the events."""
        return self.events[0].schema

    def sources(self) -> Sequence[Source]:
        """Return one source per table."""
        return [TableSource(table) for table in self.events]

    def items(self) -> pa.Table | None:
        """Return the catalogue."""
        return self.item_table

    def users(self) -> pa.Table | None:
        """Return the users."""
        return self.user_table

    def identity(self) -> Sequence[tuple[str, int, int]]:
        """Return nothing: it has no files."""
        return []


def run_here(_: str, task: Task, count: int) -> list[dict[str, Any]]:
    """Run tasks in this process, the last one first."""
    results = {index: task(index) for index in reversed(range(count))}
    return [results[index] for index in range(count)]


def prepare_here(
    root: Path | str, adapter: TableAdapter, features: dict[str, Any], **sections: Any
) -> Examples:
    """Prepare an adapter's data under `root`.

    Args:
        root: the storage root.
        adapter: the data.
        features: the `[features]` section.
        sections: other sections; one task "click" by default.
    """
    settings = FeatureSettings.model_validate(
        {
            "recommender": "toy",
            "dataset": {"format": "synthetic", **sections.pop("dataset", {})},
            "tasks": [{"name": "click", "column": "click"}],
            "features": features,
            **sections,
        }
    )
    storage = Storage(str(root), settings.recommender)
    with Workspace.open(storage) as workspace:
        checked = Checked(adapter, settings.tasks)
        Preparation(settings, checked, workspace=workspace, run=run_here).prepare("toy")
    return Examples.open(storage)
