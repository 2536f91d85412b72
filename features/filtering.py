"""Items with too few events, dropped together with them."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from cluster.errors import InputError
from features.canonical import Ingested
from features.tasks import Run


@dataclass(frozen=True)
class ItemCounting:
    """Writes `occurrences/<p>/items.parquet`: the distinct events of each item."""

    ingested: Ingested

    def __call__(self, partition: int) -> dict[str, Any]:
        """Return nothing; the counts are in the file."""
        events, _ = self.ingested.events(partition)
        with self.ingested.workspace.writing(f"occurrences/{partition:05d}") as folder:
            if not events.is_empty():
                counts = events.group_by("item_id").len("events")
                counts.write_parquet(folder / "items.parquet")
        return {}


def kept_items(ingested: Ingested, min_events: int, run: Run) -> pl.Series | None:
    """Return the ids of items with at least `min_events` events; None where all are kept.

    Raises:
        InputError: no item has so many.
    """
    if min_events <= 1:
        return None
    run("count items", ItemCounting(ingested), ingested.num_partitions)
    folders = (
        ingested.workspace.reading(f"occurrences/{p:05d}") for p in range(ingested.num_partitions)
    )
    files = [folder / "items.parquet" for folder in folders]
    counts = pl.concat([pl.read_parquet(file) for file in files if file.exists()])
    totals = counts.group_by("item_id").agg(pl.col("events").sum())
    kept = totals.filter(pl.col("events") >= min_events)["item_id"].sort()
    if kept.is_empty():
        most = totals["events"].max()
        raise InputError(
            f"dataset.min_item_events: no item has {min_events} events, the most is {most!r}"
        )
    return kept
