"""Fills an online store from the prepared tables, by the rules of live events."""

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cluster.errors import InputError
from cluster.progress import ProgressBar
from cluster.storage import MANIFEST, Storage, content_hash
from features.canonical import label_matrix
from features.stores.filled import Filled
from features.stores.layouts import Layouts
from features.stores.record import Record
from features.stores.recorder import Recorder
from features.stores.store import Change, Store
from features.vocabulary import canonical_column

TABLES = "tables"
USERS = "users.parquet"
BATCH_USERS = 100
"""Written at a time, for which live events wait."""


def fill(store: Store, storage: Storage, recorder: Recorder) -> int:
    """Write every user of the prepared data; return how many, 0 when that was done before.

    Records hold the data as it is, nothing encoded: data prepared after the bundle was made fills
    the store as well, with the bundle's rules. Live events later than the data are kept, as far
    as the records hold them, and so are users whom only live events know. Services may read and
    write the store meanwhile. Killed half-way, it starts again and ends with the same records.

    Raises:
        InputError: the prepared data is missing, lacks a column of the bundle's tasks, or was
            replaced meanwhile.
    """
    try:
        filling = Filling(store, storage, recorder)
        return 0 if filling.is_done else filling.run()
    except FileNotFoundError as error:
        where = storage.local / TABLES
        raise InputError(f"{where}: was replaced while it was read: {error}") from error


class Filling:
    """One pass over the tables, holding the users table and one partition of events."""

    def __init__(self, store: Store, storage: Storage, recorder: Recorder) -> None:
        if not storage.exists(TABLES):
            where = f"{storage.root}/{storage.recommender}/{TABLES}"
            raise InputError(f"{where}: no prepared data; run `python -m features CONFIG` first")
        # Where the link leads: data that is prepared from here on lies somewhere else.
        self.folder = storage.fetch(TABLES).resolve()
        self.files = sorted((self.folder / "events").glob("*.parquet"))
        self.has_users = (self.folder / USERS).is_file()
        manifest = json.loads((self.folder / MANIFEST).read_text())
        self.names = [f.name for f in recorder.schema.features if f.owner == "user"]
        self.store = store
        self.recorder = recorder
        self.id = content_hash([manifest["id"], recorder.layout, self.names])
        self.data_end_ms = int(manifest["data_end_ms"])
        self.num_users: int = manifest["dataset"]["users"]
        self.before = Filled.of(store)
        if (storage.local / TABLES).resolve() != self.folder:
            raise InputError(f"{self.folder}: was replaced while it was read")

    @property
    def is_done(self) -> bool:
        """Whether the store holds this already."""
        return self.before is not None and self.before.source == self.id

    def run(self) -> int:
        """Write all records, erase those of earlier data, and note what was done."""
        Layouts(self.store).state(self.recorder.schema)
        if self.before is not None:
            self.before.unfinished().state(self.store)
        done = 0
        with ProgressBar("online store", self.num_users) as progress:
            for changes in self._batches():
                self.store.update(changes)
                done += len(changes)
                progress.advance(len(changes), "users")
        self.store.prune(lambda record: record.filled in (None, self.id) or bool(record.recent))
        Filled.just(self.id, self.data_end_ms, self.before).state(self.store)
        return done

    def _batches(self) -> Iterator[dict[str, Change]]:
        changes: dict[str, Change] = {}
        for user_id, fresh in self._records():
            changes[user_id] = partial(self._change, fresh)
            if len(changes) == BATCH_USERS:
                yield changes
                changes = {}
        if changes:
            yield changes

    def _change(self, fresh: Record, old: Record | None) -> Record:
        return self.recorder.refilled(fresh, old, self.data_end_ms)

    def _records(self) -> Iterator[tuple[str, Record]]:
        """Yield every user's record: those with events by partition, then the silent ones."""
        labels = {task.column for task in self.recorder.schema.tasks}
        users = _users(self.folder / USERS, self.names) if self.has_users else None
        active = []
        for file in self.files:
            _check_columns(file, labels)
            events = pl.read_parquet(file, columns=["user_id", "item_id", "timestamp", *labels])
            active.append(events["user_id"].unique())
            yield from self._active(events, users)
        if users is not None:
            silent = users.join(pl.DataFrame(pl.concat(active)), on="user_id", how="anti")
            for user_id, attributes in _attributes(silent):
                yield user_id, self._empty(attributes)

    def _active(
        self, events: pl.DataFrame, users: pl.DataFrame | None
    ) -> Iterator[tuple[str, Record]]:
        """Yield the records of users with events; events are sorted by user and time."""
        labels = label_matrix(events, self.recorder.schema.tasks)
        timestamps = _milliseconds(events["timestamp"])
        item_ids = canonical_column(events["item_id"]).to_list()
        bounds = np.flatnonzero(events["user_id"].rle_id().diff().fill_null(1).to_numpy())
        known = events.select("user_id").gather(bounds)
        if users is not None:
            known = known.join(users, on="user_id", how="left", maintain_order="left")
        ends = np.append(bounds[1:], len(labels))
        rows = zip(_attributes(known), bounds.tolist(), ends.tolist(), strict=True)
        for (user_id, attributes), begin, end in rows:
            own = slice(begin, end)
            empty = self._empty(attributes)
            yield (
                user_id,
                self.recorder.filled(empty, item_ids[own], timestamps[own], labels[own]),
            )

    def _empty(self, attributes: dict[str, Any]) -> Record:
        record = self.recorder.empty(attributes)
        record.filled = self.id
        return record


def _check_columns(file: Path, labels: set[str]) -> None:
    missing = labels - pl.read_parquet_schema(file).keys()
    if missing:
        raise InputError(f"{file}: has no {sorted(missing)[0]!r}, which the bundle's tasks read")


def _users(file: Path, names: Sequence[str]) -> pl.DataFrame:
    """Read the attributes that models see, as types that MessagePack knows."""
    known = [name for name in names if name in pl.read_parquet_schema(file)]
    users = pl.read_parquet(file, columns=["user_id", *known])
    return users.with_columns(pl.selectors.decimal().cast(pl.Float64))


def _attributes(users: pl.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield canonical ids with attributes, leaving out what is unknown."""
    user_ids = canonical_column(users["user_id"])
    for user_id, values in zip(user_ids, users.drop("user_id").iter_rows(named=True), strict=True):
        yield user_id, {name: value for name, value in values.items() if value is not None}


def _milliseconds(instants: pl.Series) -> Any:
    if instants.dtype.is_temporal():
        return instants.dt.epoch("ms").to_numpy()
    return instants.cast(pl.Int64).to_numpy()
