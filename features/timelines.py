"""Users' positive events, stored once per partition; a history is a slice of a timeline."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Timelines:
    """One partition's timelines of positive events, by user and then by time.

    `users` (u,) int32 user rows, `offsets` (u + 1,) int64; timeline k is
    `offsets[k]:offsets[k + 1]` of the event arrays `items` (n,) int32 item rows,
    `timestamps` (n,) int64 ms, `context_codes` (n, categorical context) int32,
    `context_numbers` (n, numeric context) float32, `split` (n,) uint8 index into SPLITS.
    """

    users: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    context_codes: npt.NDArray[np.int32]
    context_numbers: npt.NDArray[np.float32]
    split: npt.NDArray[np.uint8]

    def save(self, folder: Path) -> None:
        """Write every array as .npy."""
        save_arrays(self, folder)

    @classmethod
    def open(cls, folder: Path) -> "Timelines":
        """Memory-map what `save` wrote."""
        return cls(**mapped_arrays(cls, folder))

    def histories(
        self, begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64], length: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Return the last `length` events of the slices begin:end.

        Returns:
            Item rows and timestamps (batch, length), chronological from index 0, padded with 0.
        """
        begin = np.maximum(begin, end - length)
        positions = begin[:, None] + np.arange(length)
        is_real = positions < end[:, None]
        positions = np.where(is_real, positions, 0)
        if not len(self.items):
            return np.zeros(positions.shape, np.int32), np.zeros(positions.shape, np.int64)
        items = np.where(is_real, self.items[positions], 0)
        return items, np.where(is_real, self.timestamps[positions], 0)


def save_arrays(value: Any, folder: Path) -> None:
    """Write a dataclass of arrays, one .npy per field."""
    folder.mkdir(parents=True, exist_ok=True)
    for field in fields(value):
        np.save(folder / f"{field.name}.npy", getattr(value, field.name))


def mapped_arrays(kind: Any, folder: Path) -> dict[str, npt.NDArray[Any]]:
    """Memory-map one .npy per field of a dataclass."""
    return {f.name: np.load(folder / f"{f.name}.npy", mmap_mode="r") for f in fields(kind)}
