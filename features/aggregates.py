"""Second pass: canonical tables, and what all partitions together must know of them.

Everything that is merged grows with the catalogue, the users and the update intervals, not with
the events: counts by item and interval, counts by context value and interval, training events by
user and by attribute value, moments of numbers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.canonical import Ingested, count_columns, label_matrix
from features.counts import EMPTY_VALUES, moments_of, value_counts
from features.recipe import Recipe
from features.splits import COLUMN, TRAIN, assign_splits
from features.timelines import SPLITS
from features.vocabulary import canonical_column
from features.workspace import Workspace

USER_COUNTS = {"train": pl.Int64, "events": pl.UInt32}


@dataclass(frozen=True)
class Aggregation:
    """Writes `events/<p>/`: the canonical `events.parquet` and one file per kind of count."""

    ingested: Ingested
    recipe: Recipe
    kept_items: pl.Series | None
    """Items that have enough events; None keeps all."""
    has_users: bool

    @property
    def workspace(self) -> Workspace:
        """Where the files lie."""
        return self.ingested.workspace

    def __call__(self, partition: int) -> dict[str, Any]:
        """Return counts of events by split, of duplicates and of label values."""
        events, duplicates = self.ingested.events(partition)
        found = events.height
        if self.kept_items is not None and found:
            events = events.filter(pl.col("item_id").is_in(self.kept_items.implode()))
        users = self._users(partition)
        with self.workspace.writing(f"events/{partition:05d}") as folder:
            if events.is_empty():
                stats = self._nothing(folder, users)
            else:
                stats = self._counts(events, users, folder)
        return {"duplicates": duplicates, "filtered": found - events.height, **stats}

    def _users(self, partition: int) -> pl.DataFrame | None:
        if not self.has_users:
            return None
        return pl.read_parquet(self.workspace.reading(f"users/{partition:05d}") / "users.parquet")

    def _counts(
        self, events: pl.DataFrame, users: pl.DataFrame | None, folder: Path
    ) -> dict[str, Any]:
        labels = label_matrix(events, self.recipe.tasks)
        split = assign_splits(self.recipe.split, events, self.recipe.positives(labels))
        _write_table(events, split, folder, has_time=self.recipe.has_time)
        is_train = split == TRAIN
        counted = _counted(events, labels, is_train, self.recipe)
        sums = pl.exclude("item_id", "user_id", "bucket").sum()
        counted.group_by("item_id", "bucket").agg(sums).write_parquet(folder / "items.parquet")
        context = self.recipe.context(events)
        names = self.recipe.of("context", "categorical")
        write_context_counts(context.select(names), counted, folder / "context.parquet")
        by_user = counted.group_by("user_id").agg(pl.col("train").sum(), events=pl.len())
        everyone = _everyone(by_user, users)
        everyone.write_parquet(folder / "users.parquet")
        moments = {
            f"context.{name}": moments_of(context[name].filter(pl.Series(is_train)))
            for name in self.recipe.of("context", "numeric")
        }
        moments |= self._attributes(everyone, users, folder)
        trained = labels[is_train].astype(np.float64)
        present = np.isfinite(trained)
        steps = count_columns(labels[is_train], self.recipe.tasks)[:, 1:]
        return {
            "users": everyone.height,
            "split": {name: int((split == i).sum()) for i, name in enumerate(SPLITS)},
            "labels": present.sum(axis=0).tolist(),
            "label_sums": steps.sum(axis=0).tolist(),
            "positives": int(self.recipe.positives(labels[is_train]).sum()),
            "moments": moments,
        }

    def _attributes(
        self, everyone: pl.DataFrame, users: pl.DataFrame | None, folder: Path
    ) -> dict[str, list[float]]:
        """Count the training events of each attribute value; return the moments of numbers."""
        counts = []
        moments = {}
        if users is not None:
            table = users.join(everyone.select("user_id", "train"), on="user_id")
            names = [*self.recipe.of("user", "categorical"), *self.recipe.of("user", "multi")]
            counts = [value_counts(table, name, f"user.{name}") for name in names]
            trained = table.filter(pl.col("train") > 0)
            for name in self.recipe.of("user", "numeric"):
                moments[f"user.{name}"] = moments_of(trained[name])
        pl.concat([EMPTY_VALUES, *counts]).write_parquet(folder / "values.parquet")
        return moments

    def _nothing(self, folder: Path, users: pl.DataFrame | None) -> dict[str, Any]:
        """Write a partition that has no events but perhaps users."""
        if users is not None:
            nobody = pl.DataFrame(schema={"user_id": users["user_id"].dtype, **USER_COUNTS})
            _everyone(nobody, users).write_parquet(folder / "users.parquet")
        none = [0] * len(self.recipe.tasks)
        return {
            "users": 0 if users is None else users.height,
            "split": dict.fromkeys(SPLITS, 0),
            "labels": none,
            "label_sums": none,
            "positives": 0,
            "moments": {},
        }


def write_context_counts(context: pl.DataFrame, counted: pl.DataFrame, path: Path) -> None:
    """Write counts by context column, value and interval."""
    parts = []
    for name in context.columns:
        value = canonical_column(context[name]).alias("value")
        sums = pl.exclude("value", "bucket").sum()
        part = counted.drop("item_id", "user_id").with_columns(value)
        part = part.drop_nulls("value").group_by("value", "bucket").agg(sums)
        parts.append(part.select(pl.lit(name).alias("column"), pl.all()))
    if parts:
        pl.concat(parts).write_parquet(path)


def _counted(
    events: pl.DataFrame,
    labels: npt.NDArray[np.float32],
    is_train: npt.NDArray[np.bool_],
    recipe: Recipe,
) -> pl.DataFrame:
    """Return each event's keys and what it adds: `count_0` impressions, `count_1`.. labels."""
    steps = count_columns(labels, recipe.tasks)
    return events.select("user_id", "item_id").with_columns(
        pl.Series("bucket", recipe.buckets(events["timestamp"].to_numpy())),
        pl.Series("train", is_train.astype(np.int64)),
        *(pl.Series(f"count_{i}", steps[:, i]) for i in range(steps.shape[1])),
    )


def _everyone(by_user: pl.DataFrame, users: pl.DataFrame | None) -> pl.DataFrame:
    """Return all users of the partition by id, also those who are only in the users table."""
    if users is not None:
        silent = users.select("user_id").join(by_user, on="user_id", how="anti")
        none = [pl.lit(0, dtype=kind).alias(name) for name, kind in USER_COUNTS.items()]
        by_user = pl.concat([by_user, silent.with_columns(none)])
    return by_user.sort("user_id")


def _write_table(
    events: pl.DataFrame, split: npt.NDArray[np.uint8], folder: Path, *, has_time: bool
) -> None:
    words = pl.Series(COLUMN, np.asarray(SPLITS)[split])
    table = events.with_columns(words)
    if has_time:
        table = table.with_columns(pl.col("timestamp").cast(pl.Datetime("ms", "UTC")))
    table.write_parquet(folder / "events.parquet", statistics=False)
