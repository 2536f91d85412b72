"""The items as row-major memory-mapped arrays; row 0 is the unknown item and padding."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.encoding import Encoded
from features.vocabulary import canonical


@dataclass(frozen=True)
class Catalogue:
    """Every item of one data version, by item row.

    `table` holds the raw columns (`item_id`, `title`, attributes), item row r at index r - 1.
    Shapes: `encoded` (items + 1, ...), `published_ms` and `train_events` (items + 1,).
    """

    table: pl.DataFrame
    encoded: Encoded
    published_ms: npt.NDArray[np.int64]
    """-1 where the publishing date is unknown."""
    train_events: npt.NDArray[np.int32]
    """Impressions in the training split; 0 marks a new item."""

    @property
    def num_items(self) -> int:
        """Items, without row 0."""
        return self.table.height

    @cached_property
    def rows_by_id(self) -> dict[str, int]:
        """Item rows by canonical id."""
        ids = self.table["item_id"].to_list()
        return {canonical(item_id): row for row, item_id in enumerate(ids, start=1)}

    def save(self, folder: Path) -> None:
        """Write the table as Parquet and the arrays as .npy."""
        folder.mkdir(parents=True, exist_ok=True)
        self.table.write_parquet(folder / "items.parquet")
        self.encoded.save(folder)
        np.save(folder / "published_ms.npy", self.published_ms)
        np.save(folder / "train_events.npy", self.train_events)

    @classmethod
    def open(cls, folder: Path) -> "Catalogue":
        """Memory-map what `save` wrote."""
        return cls(
            table=pl.read_parquet(folder / "items.parquet"),
            encoded=Encoded.open(folder),
            published_ms=_mapped(folder / "published_ms.npy"),
            train_events=_mapped(folder / "train_events.npy"),
        )


def _mapped(path: Path) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    return array
