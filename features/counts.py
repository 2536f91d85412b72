"""What partitions count, and the sums over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from features.encoding import signed_log1p
from features.timelines import SPLITS
from features.vocabulary import canonical_column
from features.workspace import Workspace

EMPTY_VALUES = pl.DataFrame(schema={"column": pl.String, "value": pl.String, "train": pl.Int64})


@dataclass(frozen=True)
class Counts:
    """The merged results of the second pass.

    `items`: item_id, bucket, train, count_*; `context`: column, value, bucket, train, count_*;
    `values`: column, value, train of user attributes; `stats`: each partition's result.
    """

    items: pl.DataFrame
    context: pl.DataFrame | None
    values: pl.DataFrame | None
    stats: Sequence[dict[str, Any]]


def merged_counts(workspace: Workspace, stats: Sequence[dict[str, Any]]) -> Counts:
    """Add up the partitions' counts."""
    items = _merged(workspace, len(stats), "items", ["item_id", "bucket"])
    assert items is not None
    context = _merged(workspace, len(stats), "context", ["column", "value", "bucket"])
    values = _merged(workspace, len(stats), "values", ["column", "value"])
    return Counts(items, context, values, stats)


def split_sizes(stats: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the events of each split."""
    return {name: sum(part["split"][name] for part in stats) for name in SPLITS}


def value_counts(table: pl.DataFrame, name: str, key: str) -> pl.DataFrame:
    """Return the training events (column `train`) of each value of a column, as EMPTY_VALUES."""
    pairs = table.select(pl.col(name).alias("value"), "train").filter(pl.col("train") > 0)
    if pairs["value"].dtype == pl.List:
        pairs = pairs.explode("value")
    values = pairs.select(canonical_column(pairs["value"]).alias("value"), "train").drop_nulls()
    counts = values.group_by("value").agg(pl.col("train").sum().cast(pl.Int64))
    return counts.select(pl.lit(key).alias("column"), "value", "train")


def moments_of(values: pl.Series) -> list[float]:
    """Return number, sum and sum of squares of the finite signed logarithms of values."""
    scaled = signed_log1p(values.cast(pl.Float64).fill_null(float("nan")).to_numpy())
    scaled = scaled[np.isfinite(scaled)]
    return [float(len(scaled)), float(scaled.sum()), float((scaled**2).sum())]


def _merged(
    workspace: Workspace, num_partitions: int, name: str, keys: list[str]
) -> pl.DataFrame | None:
    """Return one kind of count summed over the partitions; None if none has it."""
    total: pl.DataFrame | None = None
    for partition in range(num_partitions):
        path = workspace.reading(f"events/{partition:05d}") / f"{name}.parquet"
        if path.exists():
            part = pl.read_parquet(path)
            both = part if total is None else pl.concat([total, part])
            total = both.group_by(keys).agg(pl.exclude(keys).sum())
    return None if total is None else total.sort(keys)
