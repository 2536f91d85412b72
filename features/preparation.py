"""From raw data to examples: three passes on Ray Data, each with bounded memory.

Ingestion splits the sources by user hash; aggregation orders each partition and counts what all
of them must share; sharding encodes each partition. The driver merges counts in between: it holds
the catalogue, the users' ids and counts by item and interval, never the events.
"""

import time
from typing import Any

import numpy as np
import polars as pl

from cluster.errors import InputError
from cluster.session import session
from cluster.storage import Storage, content_hash
from features.aggregates import Aggregation
from features.canonical import Ingested
from features.columns import infer_columns
from features.config import FeatureSettings
from features.counts import Counts, merged_counts, split_sizes
from features.datasets.adapter import Adapter
from features.datasets.registry import open_dataset
from features.examples import EXAMPLES, Examples
from features.filtering import kept_items
from features.fitting import Fitted, fit, rate_entities
from features.ingestion import Ingestion, Read, summed
from features.partitions import count_partitions
from features.publication import TABLES, Publication
from features.recipe import Recipe
from features.sharding import Sharding
from features.splits import check_sizes, check_split, plan_split
from features.tables import (
    catalogue_table,
    open_tables,
    save_users_by_partition,
    schemas_of,
)
from features.tasks import Run, run_tasks
from features.workspace import Workspace

FORMAT = 1
"""Counts up when prepared data of the same configuration would come out different."""


def identity(settings: FeatureSettings, adapter: Adapter) -> str:
    """Hash everything that the prepared data depends on: configuration and files."""
    return content_hash(
        {
            "format": FORMAT,
            "recommender": settings.recommender,
            **settings.preparation,
            "files": [list(file) for file in adapter.identity()],
        }
    )


def prepare(settings: FeatureSettings, *, force: bool = False) -> tuple[Examples, bool]:
    """Make the tables and the examples, unless they are there already.

    Returns:
        The examples, and whether they were made by this call.

    Raises:
        InputError: the data or the configuration cannot be used.
    """
    storage = Storage(settings.storage.root, settings.recommender)
    adapter = open_dataset(settings.dataset, settings.tasks)
    wanted = identity(settings, adapter)
    manifests = [storage.manifest(name) for name in (TABLES, EXAMPLES)]
    if not force and all(m is not None and m["id"] == wanted for m in manifests):
        return Examples.open(storage), False
    with Workspace.open(storage) as workspace:
        preparation = Preparation(settings, adapter, workspace=workspace, run=run_tasks)
        with session(settings.cluster):
            preparation.prepare(wanted)
    return Examples.open(storage), True


class Preparation:
    """One preparation: the passes in their order, and what the driver does between them.

    Args:
        settings: the configuration.
        adapter: the data.
        workspace: where the passes leave their files for each other.
        run: how tasks are run.

    Raises:
        InputError: the tables or the configured columns cannot be used.
    """

    def __init__(
        self, settings: FeatureSettings, adapter: Adapter, *, workspace: Workspace, run: Run
    ) -> None:
        self.settings = settings
        self.adapter = adapter
        self.workspace = workspace
        self.started = time.monotonic()
        config = settings.features
        check_split(config.split, adapter.schema.names, has_time=adapter.has_time)
        self.tables = open_tables(adapter)
        self.columns = infer_columns(
            schemas_of(adapter, self.tables),
            config,
            settings.tasks,
            has_time=adapter.has_time,
        )
        rate_entities(self.columns, config.rates.entities, has_time=adapter.has_time)
        self._run = run

    def prepare(self, identity: str) -> None:
        """Ingest, aggregate, fit, shard and publish."""
        read, ingested = self._ingest()
        recipe = self._recipe(read.last_ms)
        kept = kept_items(ingested, self.settings.dataset.min_item_events, self._run)
        counts = self._aggregate(ingested, recipe, kept)
        items = catalogue_table(self.tables.items, counts.items["item_id"].unique(), kept)
        fitted = fit(self.settings, recipe, counts, items)
        with self.workspace.writing("fitted") as folder:
            fitted.save(folder)
        self._shard(recipe, counts)
        facts = self._facts(identity, read, recipe, counts, fitted)
        Publication(self.workspace, ingested.num_partitions, facts).publish(fitted, self.tables)

    def _ingest(self) -> tuple[Read, Ingested]:
        sources = self.adapter.sources()
        block_rows = self.settings.features.block_rows
        task = Ingestion(sources, self.workspace, block_rows)
        read = summed(self._run("read events", task, len(sources)))
        partitions = count_partitions(read.slot_rows, block_rows)
        if self.tables.users is not None:
            save_users_by_partition(self.tables.users, partitions, self.workspace)
        return read, Ingested(self.workspace, len(sources), partitions)

    def _recipe(self, last_ms: int) -> Recipe:
        config = self.settings.features
        has_time = self.adapter.has_time
        offset = config.utc_offset
        return Recipe(
            columns=self.columns,
            tasks=self.settings.tasks,
            positive=self.settings.positive,
            split=plan_split(config.split, last_ms=last_ms, offset_ms=offset),
            interval_ms=config.rates.interval,
            offset_ms=offset,
            has_time=has_time,
        )

    def _aggregate(self, ingested: Ingested, recipe: Recipe, kept: pl.Series | None) -> Counts:
        task = Aggregation(ingested, recipe, kept, has_users=self.tables.users is not None)
        stats = self._run("count and order", task, ingested.num_partitions)
        check_sizes(split_sizes(stats), recipe.split)
        if not sum(part["positives"] for part in stats):
            raise InputError(f"tasks.{recipe.positive}: no positive event in the training split")
        return merged_counts(self.workspace, stats)

    def _shard(self, recipe: Recipe, counts: Counts) -> None:
        users = [part["users"] for part in counts.stats]
        first_rows = (1 + np.cumsum([0, *users[:-1]])).tolist()
        task = Sharding(
            self.workspace, recipe, tuple(first_rows), has_users=self.tables.users is not None
        )
        self._run("encode", task, len(users))

    def _facts(
        self, identity: str, read: Read, recipe: Recipe, counts: Counts, fitted: Fitted
    ) -> dict[str, Any]:
        sizes = split_sizes(counts.stats)
        filtered = sum(part["filtered"] for part in counts.stats)
        rejected = {**read.rejected, **self.tables.rejected}
        if filtered:
            rejected["events of items with too few events"] = filtered
        return {
            "id": identity,
            "fingerprint": fitted.schema.fingerprint,
            "num_partitions": len(counts.stats),
            "data_end_ms": read.last_ms,
            "seconds": round(time.monotonic() - self.started, 3),
            "settings": self.settings.preparation,
            "dataset": {
                "users": sum(part["users"] for part in counts.stats),
                "items": fitted.catalogue.num_items,
                "events": sum(sizes.values()),
                "split": {**recipe.split.facts(), **sizes},
                "rejected": rejected,
                "duplicates": sum(part["duplicates"] for part in counts.stats),
            },
        }
