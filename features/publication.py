"""The end of a preparation: the partitions' files become the artifacts `tables` and `examples`."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from cluster.storage import MANIFEST
from features.examples import EXAMPLES, Examples
from features.fitting import Fitted
from features.profile import save_profile
from features.tables import Tables
from features.timelines import SPLITS
from features.workspace import Workspace

TABLES = "tables"


@dataclass(frozen=True)
class Publication:
    """Moves what the tasks wrote into the two artifacts; each appears whole or not at all."""

    workspace: Workspace
    num_partitions: int
    facts: dict[str, Any]

    def publish(self, fitted: Fitted, tables: Tables) -> None:
        """Publish the tables, then the examples."""
        storage = self.workspace.storage
        with storage.publishing(EXAMPLES) as examples, storage.publishing(TABLES) as folder:
            self._fill_tables(folder, fitted, tables)
            self._fill_examples(examples)
            self._write_manifest(folder)

    def _fill_tables(self, folder: Path, fitted: Fitted, tables: Tables) -> None:
        (folder / "events").mkdir()
        for partition in range(self.num_partitions):
            source = self.workspace.reading(f"events/{partition:05d}") / "events.parquet"
            if source.exists():
                shutil.move(source, folder / "events" / f"part-{partition:05d}.parquet")
        fitted.catalogue.table.write_parquet(folder / "items.parquet")
        if tables.users is not None:
            pl.DataFrame(tables.users).write_parquet(folder / "users.parquet")

    def _fill_examples(self, folder: Path) -> None:
        for source in self.workspace.reading("fitted").iterdir():
            shutil.move(source, folder / source.name)
        for partition in range(self.num_partitions):
            shards = self.workspace.reading(f"shards/{partition:05d}")
            for split in SPLITS:
                _move(shards / split, folder / "shards" / split / f"{partition:05d}")
            _move(shards / "timelines", folder / "timelines" / f"{partition:05d}")
        self._write_users(folder / "users")
        self._write_manifest(folder)
        save_profile(Examples(folder), folder)

    def _write_users(self, folder: Path) -> None:
        """Put the partitions' users below each other, after row 0."""
        folder.mkdir()
        parts = [
            self.workspace.reading(f"shards/{p:05d}") / "users" for p in range(self.num_partitions)
        ]
        for name in ("codes", "multi", "numbers"):
            _concatenate([part / f"{name}.npy" for part in parts], folder / f"{name}.npy")
        lists = [
            self.workspace.reading(f"events/{p:05d}") / "users.parquet"
            for p in range(self.num_partitions)
        ]
        everyone = pl.concat([pl.read_parquet(path) for path in lists if path.exists()])
        everyone.select("user_id").write_parquet(folder / "ids.parquet")
        train = np.concatenate([[0], everyone["train"].to_numpy()])
        np.save(folder / "train_events.npy", train.astype(np.int32))

    def _write_manifest(self, folder: Path) -> None:
        (folder / MANIFEST).write_text(json.dumps(self.facts, indent=1))


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(source, target)


def _concatenate(parts: list[Path], target: Path) -> None:
    """Write arrays below each other after a row of zeros, one part in memory at a time."""
    arrays = [np.load(part, mmap_mode="r") for part in parts]
    shape = (1 + sum(len(array) for array in arrays), *arrays[0].shape[1:])
    if not np.prod(shape):
        np.save(target, np.zeros(shape, arrays[0].dtype))
        return
    whole = np.lib.format.open_memmap(target, mode="w+", dtype=arrays[0].dtype, shape=shape)
    start = 1
    for array in arrays:
        whole[start : start + len(array)] = array
        start += len(array)
    whole.flush()
