"""Third pass: a partition's events as encoded, point-in-time examples and timelines."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.canonical import count_columns, label_matrix
from features.catalogue import Catalogue
from features.counting import as_of_lookup, entity_counts, user_counts
from features.encoding import Encoded, Encoder
from features.examples import Shard
from features.rates import RateTable
from features.recipe import Recipe
from features.schema import Schema
from features.splits import COLUMN
from features.timelines import SPLITS, Timelines
from features.vocabulary import Vocabularies
from features.workspace import Workspace

CHUNK_ROWS = 100_000


@dataclass(frozen=True)
class Events:
    """A partition's events as arrays, by user and time; all (n, ...)."""

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    timestamp: npt.NDArray[np.int64]
    bucket: npt.NDArray[np.int64]
    split: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]
    context: Encoded


class Fittings:
    """The fitted parts that a task needs, opened where it runs."""

    def __init__(self, folder: Path) -> None:
        self.schema = Schema.open(folder)
        self.encoder = Encoder(self.schema, Vocabularies.open(folder / "vocabularies"))
        self.catalogue = Catalogue.open(folder / "catalogue")
        self._rates = folder / "rates"

    @cached_property
    def tables(self) -> dict[str, RateTable]:
        """Rate tables of item and context entities."""
        entities = [e.name for e in self.schema.entities if e.owner != "user"]
        return {name: RateTable.open(self._rates / name) for name in entities}


@dataclass(frozen=True)
class Sharding:
    """Writes `shards/<p>/`: `<split>/`, `timelines/` and the partition's encoded `users/`."""

    workspace: Workspace
    recipe: Recipe
    first_user_rows: tuple[int, ...]
    """The row of each partition's first user."""
    has_users: bool

    def __call__(self, partition: int) -> dict[str, Any]:
        """Return how many positive events the partition has."""
        fittings = Fittings(self.workspace.reading("fitted"))
        source = self.workspace.reading(f"events/{partition:05d}")
        with self.workspace.writing(f"shards/{partition:05d}") as folder:
            users = self._save_users(fittings, partition, source, folder / "users")
            events = self._events(fittings, partition, users, source / "events.parquet")
            timelines, begin, end = histories(events, self.recipe.positives(events.labels))
            timelines.save(folder / "timelines")
            for index, name in enumerate(SPLITS):
                chosen = np.flatnonzero(events.split == index)
                shard = _shard(fittings, events, chosen, (begin, end), self._user_counts(events))
                shard.save(folder / name)
        return {"positives": len(timelines.items)}

    def _save_users(
        self, fittings: Fittings, partition: int, source: Path, folder: Path
    ) -> pl.Series:
        path = source / "users.parquet"
        everyone = pl.read_parquet(path) if path.exists() else pl.DataFrame({"user_id": []})
        users = everyone
        if self.has_users:
            attributes = self.workspace.reading(f"users/{partition:05d}") / "users.parquet"
            users = everyone.join(
                pl.read_parquet(attributes), on="user_id", how="left", maintain_order="left"
            )
        fittings.encoder.table("user", users).save(folder)
        return everyone["user_id"]

    def _events(self, fittings: Fittings, partition: int, users: pl.Series, path: Path) -> Events:
        if not path.exists():
            return _no_events(fittings.schema)
        events = pl.read_parquet(path)
        if self.recipe.has_time:
            events = events.with_columns(pl.col("timestamp").dt.epoch("ms"))
        timestamps = events["timestamp"].to_numpy()
        first = self.first_user_rows[partition]
        ids = fittings.catalogue.table["item_id"]
        splits = events[COLUMN].replace_strict(list(SPLITS), [0, 1, 2], return_dtype=pl.UInt8)
        return Events(
            user=rows_of(events["user_id"], users, first),
            item=rows_of(events["item_id"], ids, 1),
            timestamp=timestamps,
            bucket=self.recipe.buckets(timestamps),
            split=splits.to_numpy(),
            labels=label_matrix(events, self.recipe.tasks),
            context=fittings.encoder.table("context", self.recipe.context(events)),
        )

    def _user_counts(self, events: Events) -> npt.NDArray[np.float32]:
        steps = count_columns(events.labels, self.recipe.tasks)
        return user_counts(events.user, events.bucket, steps)


def rows_of(ids: pl.Series, known: pl.Series, first: int) -> npt.NDArray[np.int32]:
    """Return `first` plus the position of each id among the known ones."""
    positions = pl.Series(np.arange(first, first + len(known), dtype=np.int32))
    return ids.replace_strict(known, positions, return_dtype=pl.Int32).to_numpy()


def histories(
    events: Events, is_positive: npt.NDArray[np.bool_]
) -> tuple[Timelines, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the timelines of positive events, and each event's history as a slice of them.

    A timeline is ordered by split and then by time: the same as by time alone, unless a `split`
    column mixes the splits in time. A history holds the user's positives of strictly earlier
    instants, from the event's own split and the ones before it.
    """
    positive = np.flatnonzero(is_positive)
    positive = positive[np.lexsort((positive, events.split[positive], events.user[positive]))]
    users, first = np.unique(events.user[positive], return_index=True)
    offsets = np.append(first, len(positive)).astype(np.int64)
    timelines = Timelines(
        users=users.astype(np.int32),
        offsets=offsets,
        items=events.item[positive],
        timestamps=events.timestamp[positive],
        context_codes=events.context.codes[positive],
        context_numbers=events.context.numbers[positive],
        split=events.split[positive],
    )
    instants, rank = np.unique(events.timestamp, return_inverse=True)
    num_ranks = len(instants) + 1
    segment = events.user.astype(np.int64) * len(SPLITS)
    keys = (segment[positive] + events.split[positive]) * num_ranks + rank[positive]
    begin = np.searchsorted(keys, segment * num_ranks)
    end = begin.copy()
    for index in range(len(SPLITS)):
        start = np.searchsorted(keys, (segment + index) * num_ranks)
        earlier = np.searchsorted(keys, (segment + index) * num_ranks + rank)
        is_next = (end == start) & (index <= events.split)
        end = np.where(is_next, earlier, end)
    return timelines, begin.astype(np.int64), end.astype(np.int64)


def _shard(
    fittings: Fittings,
    events: Events,
    chosen: npt.NDArray[np.int64],
    slices: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    by_user: npt.NDArray[np.float32],
) -> Shard:
    """Gather the chosen events (m,) as a shard."""
    user_entities = len(fittings.schema.entities_of("user"))
    parts = [
        _counts(fittings, events, chosen[start : start + CHUNK_ROWS])
        for start in range(0, max(len(chosen), 1), CHUNK_ROWS)
    ]
    of_context = np.concatenate([context for context, _ in parts])
    of_user = np.repeat(by_user[chosen][:, None], user_entities, axis=1)
    return Shard(
        user=events.user[chosen],
        item=events.item[chosen],
        timestamp=events.timestamp[chosen],
        context_codes=events.context.codes[chosen],
        context_numbers=events.context.numbers[chosen],
        history_begin=slices[0][chosen],
        history_end=slices[1][chosen],
        user_counts=np.concatenate([of_user, of_context], axis=1),
        item_counts=np.concatenate([item for _, item in parts]),
        labels=events.labels[chosen],
    )


def _counts(
    fittings: Fittings, events: Events, chosen: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the counts of context and of item entities at each event's interval.

    Items are looked up once per item and interval.
    """
    schema, tables = fittings.schema, fittings.tables
    by_bucket = {
        e.name: as_of_lookup(tables[e.name], events.bucket[chosen])
        for e in schema.entities_of("context")
    }
    context = entity_counts(schema, "context", by_bucket, encoded=events.context.take(chosen))
    rows, buckets, inverse = _distinct(events.item[chosen], events.bucket[chosen])
    lookups = {e.name: as_of_lookup(tables[e.name], buckets) for e in schema.entities_of("item")}
    encoded = fittings.catalogue.encoded.take(rows)
    items = entity_counts(schema, "item", lookups, encoded=encoded, rows=rows)
    return context, items[inverse]


def _distinct(
    items: npt.NDArray[np.int32], buckets: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the distinct pairs of item and interval, and each event's position among them."""
    first = int(buckets.min(initial=0))
    span = int(buckets.max(initial=0)) - first + 1
    keys, inverse = np.unique(items * np.int64(span) + (buckets - first), return_inverse=True)
    return keys // span, keys % span + first, inverse


def _no_events(schema: Schema) -> Events:
    none = np.zeros(0, np.int64)
    context = Encoded(
        np.zeros((0, len(schema.select("context", "categorical"))), np.int32),
        np.zeros((0, 0, schema.max_values), np.int32),
        np.zeros((0, len(schema.select("context", "numeric"))), np.float32),
    )
    return Events(
        user=none.astype(np.int32),
        item=none.astype(np.int32),
        timestamp=none,
        bucket=none,
        split=none.astype(np.uint8),
        labels=np.zeros((0, len(schema.tasks)), np.float32),
        context=context,
    )
