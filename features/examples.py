"""The prepared data that training reads: one folder, memory-mapped, made by `features`."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cluster.errors import InputError
from cluster.storage import MANIFEST, Storage
from features.assembly import Assembler, Inputs
from features.catalogue import Catalogue
from features.config import FeatureSettings
from features.encoding import Encoded
from features.rates import RateTable
from features.schema import Schema
from features.timelines import Timelines, mapped_arrays, save_arrays
from features.vocabulary import Vocabularies

EXAMPLES = "examples"


@dataclass(frozen=True)
class Shard:
    """The impressions of one split and one partition, in user and time order.

    Shapes: `user`, `item` (n,) int32 rows; `timestamp` (n,) int64; `context_codes`
    (n, categorical context) int32; `context_numbers` (n, numeric context) float32; the history
    strictly before the impression is `history_begin:history_end` (n,) int64 of the partition's
    timelines; `user_counts` (n, user and context entities, 1 + tasks) float32; `item_counts`
    (n, item entities, 1 + tasks) float32; `labels` (n, tasks) float32, NaN where missing.
    """

    user: npt.NDArray[np.int32]
    item: npt.NDArray[np.int32]
    timestamp: npt.NDArray[np.int64]
    context_codes: npt.NDArray[np.int32]
    context_numbers: npt.NDArray[np.float32]
    history_begin: npt.NDArray[np.int64]
    history_end: npt.NDArray[np.int64]
    user_counts: npt.NDArray[np.float32]
    item_counts: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.user)

    def save(self, folder: Path) -> None:
        """Write every array as .npy."""
        save_arrays(self, folder)

    @classmethod
    def open(cls, folder: Path) -> "Shard":
        """Memory-map what `save` wrote."""
        return cls(**mapped_arrays(cls, folder))


class Examples:
    """A prepared data set.

    Layout: `manifest.json`, `schema.json`, `profile.json`, `vocabularies/`, `catalogue/`,
    `users/` (encoded rows, `ids.parquet`, `train_events.npy`), `rates/<entity>/` (of items and
    contexts), `timelines/<partition>/`, `shards/<split>/<partition>/`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        """`id` (hash of what it was made from), `fingerprint`, `num_partitions`, `data_end_ms`,
        `seconds`, `settings` (FeatureSettings.preparation), and the report's `dataset` object:
        users, items, events, split (with rejected counts)."""
        self.schema = Schema.open(folder)
        if self.schema.fingerprint != self.manifest["fingerprint"]:
            raise InputError(f"{folder}: schema.json does not match the manifest's fingerprint")

    @classmethod
    def open(cls, storage: Storage) -> "Examples":
        """Open a recommender's prepared data.

        Raises:
            InputError: it was not prepared yet.
        """
        if not storage.exists(EXAMPLES):
            where = f"{storage.root}/{storage.recommender}/{EXAMPLES}"
            raise InputError(f"{where}: no prepared data; run `python -m features CONFIG` first")
        return cls(storage.fetch(EXAMPLES))

    def check_settings(self, settings: FeatureSettings) -> None:
        """Refuse settings that the data was not prepared with; tasks' weights are training's.

        Raises:
            InputError: names the first key that differs.
        """
        ours = _without_weights(settings.preparation)
        theirs = _without_weights(self.manifest.get("settings", ours))
        for section in ours:
            if ours[section] != theirs.get(section):
                key, old, new = _difference(section, theirs.get(section), ours[section])
                raise InputError(
                    f"{self.folder}: prepared with {key} = {old!r}, but the config says {new!r}; "
                    "run `python -m features CONFIG` again"
                )

    @property
    def num_partitions(self) -> int:
        """Partitions by user; the unit of parallel reading."""
        return int(self.manifest["num_partitions"])

    @cached_property
    def vocabularies(self) -> Vocabularies:
        """Every encoded column's values."""
        return Vocabularies.open(self.folder / "vocabularies")

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items."""
        return Catalogue.open(self.folder / "catalogue")

    @cached_property
    def users(self) -> Encoded:
        """Encoded users by user row; row 0 is the unknown user."""
        return Encoded.open(self.folder / "users")

    @cached_property
    def user_ids(self) -> pl.Series:
        """The data's own ids; user row r at index r - 1."""
        return pl.read_parquet(self.folder / "users" / "ids.parquet")["user_id"]

    @cached_property
    def user_train_events(self) -> npt.NDArray[np.int32]:
        """Impressions in the training split by user row; 0 marks a new user."""
        events: npt.NDArray[np.int32] = np.load(self.folder / "users" / "train_events.npy")
        return events

    @cached_property
    def assembler(self) -> Assembler:
        """Turns rows of this data into model inputs."""
        return Assembler(self.schema, self.catalogue)

    def rates(self, entity: str) -> RateTable:
        """Return the cumulative counts of one entity by interval."""
        return RateTable.open(self.folder / "rates" / entity)

    def timelines(self, partition: int) -> Timelines:
        """Memory-map one partition's timelines."""
        return Timelines.open(self.folder / "timelines" / f"{partition:05d}")

    def shard(self, split: str, partition: int) -> Shard:
        """Memory-map one partition's impressions of "train", "validation" or "test"."""
        return Shard.open(self.folder / "shards" / split / f"{partition:05d}")

    def ranking_inputs(self, shard: Shard, timelines: Timelines, index: npt.NDArray[Any]) -> Inputs:
        """Assemble the impressions at `index` (batch,) of a shard: user and item inputs."""
        timestamps = shard.timestamp[index]
        history, history_ms = timelines.histories(
            shard.history_begin[index], shard.history_end[index], self.schema.history_length
        )
        no_multi = np.zeros((len(index), 0, self.schema.max_values), np.int32)
        context = Encoded(shard.context_codes[index], no_multi, shard.context_numbers[index])
        return {
            **self.assembler.user_inputs(
                self.users.take(shard.user[index]),
                context,
                timestamps_ms=timestamps,
                history=history,
                history_ms=history_ms,
                counts=shard.user_counts[index],
            ),
            **self.assembler.item_inputs(
                shard.item[index], timestamps_ms=timestamps, counts=shard.item_counts[index]
            ),
        }


def _without_weights(settings: dict[str, Any]) -> dict[str, Any]:
    tasks = [{**task, "weight": None} for task in settings["tasks"]]
    return {**settings, "tasks": tasks}


def _difference(key: str, old: Any, new: Any) -> tuple[str, Any, Any]:
    """Follow nested settings to the first that differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in (*new, *old):
            if old.get(name) != new.get(name):
                return _difference(f"{key}.{name}", old.get(name), new.get(name))
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            if before != after:
                return _difference(f"{key}.{index}", before, after)
    return key, old, new
