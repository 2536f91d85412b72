"""Raw attributes to encoded rows, one implementation for tables and for single records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.config import Owner
from features.schema import Feature, Schema
from features.vocabulary import Vocabularies

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
FIRST_WEEKDAY = 3  # 1970-01-01 was a Thursday


@dataclass(frozen=True)
class Encoded:
    """Encoded rows of one owner.

    Shapes: `codes` (n, categorical) int32, `multi` (n, multi-valued, max_values) int32 padded
    with 0, `numbers` (n, numeric) float32.
    """

    codes: npt.NDArray[np.int32]
    multi: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.float32]

    def take(self, rows: npt.NDArray[Any]) -> "Encoded":
        """Gather rows; index arrays of any shape."""
        return Encoded(
            np.take(self.codes, rows, axis=0),
            np.take(self.multi, rows, axis=0),
            np.take(self.numbers, rows, axis=0),
        )

    def save(self, folder: Path) -> None:
        """Write the three arrays as .npy."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("codes", "multi", "numbers"):
            np.save(folder / f"{name}.npy", getattr(self, name))

    @classmethod
    def open(cls, folder: Path) -> "Encoded":
        """Memory-map what `save` wrote."""
        names = ("codes", "multi", "numbers")
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in names))


class Encoder:
    """Encodes users, items and contexts by a schema and its vocabularies."""

    def __init__(self, schema: Schema, vocabularies: Vocabularies) -> None:
        self.schema = schema
        self.vocabularies = vocabularies

    def table(self, owner: Owner, table: pl.DataFrame) -> Encoded:
        """Encode a table; a feature whose column is absent is unknown in every row."""
        codes = [self._codes(f, table) for f in self.schema.select(owner, "categorical")]
        multi = [self._multi(f, table) for f in self.schema.select(owner, "multi")]
        numbers = [self._numbers(f, table) for f in self.schema.select(owner, "numeric")]
        n = table.height
        return Encoded(
            np.stack(codes, axis=1) if codes else np.zeros((n, 0), np.int32),
            np.stack(multi, axis=1)
            if multi
            else np.zeros((n, 0, self.schema.max_values), np.int32),
            np.stack(numbers, axis=1) if numbers else np.zeros((n, 0), np.float32),
        )

    def record(self, owner: Owner, values: Mapping[str, Any]) -> Encoded:
        """Encode one record into arrays of one row; absent and unknown values are row 0."""
        width = self.schema.max_values
        codes = [self._row(f, values.get(f.name)) for f in self.schema.select(owner, "categorical")]
        multi = [
            _padded([self._row(f, v) for v in (values.get(f.name) or [])], width)
            for f in self.schema.select(owner, "multi")
        ]
        numbers = [
            float(_standardised(f, np.asarray([_number(values.get(f.name))]))[0])
            for f in self.schema.select(owner, "numeric")
        ]
        return Encoded(
            np.asarray([codes], np.int32).reshape(1, -1),
            np.asarray([multi], np.int32).reshape(1, -1, width),
            np.asarray([numbers], np.float32).reshape(1, -1),
        )

    def _row(self, feature: Feature, value: object) -> int:
        return self.vocabularies[f"{feature.owner}.{feature.name}"].row(value)

    def _codes(self, feature: Feature, table: pl.DataFrame) -> npt.NDArray[np.int32]:
        if feature.name not in table.columns:
            return np.zeros(table.height, np.int32)
        return self.vocabularies[f"{feature.owner}.{feature.name}"].encode(table[feature.name])

    def _multi(self, feature: Feature, table: pl.DataFrame) -> npt.NDArray[np.int32]:
        width = self.schema.max_values
        padded = np.zeros((table.height, width), np.int32)
        if feature.name not in table.columns:
            return padded
        lists = table[feature.name].list.head(width)
        lengths = lists.list.len().fill_null(0).to_numpy().astype(np.int64)
        flat = lists.explode(empty_as_null=False, keep_nulls=False)
        rows = self.vocabularies[f"{feature.owner}.{feature.name}"].encode(flat)
        padded[np.arange(width) < lengths[:, None]] = rows
        return padded

    def _numbers(self, feature: Feature, table: pl.DataFrame) -> npt.NDArray[np.float32]:
        if feature.name not in table.columns:
            return np.zeros(table.height, np.float32)
        values = table[feature.name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return _standardised(feature, values)


def signed_log1p(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Compress heavy tails, keeping the sign."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def hour_codes(timestamps_ms: npt.NDArray[np.int64], offset_ms: int) -> npt.NDArray[np.int32]:
    """Return the local hour of the day as 1..24."""
    return ((timestamps_ms + offset_ms) // HOUR_MS % 24 + 1).astype(np.int32)


def weekday_codes(timestamps_ms: npt.NDArray[np.int64], offset_ms: int) -> npt.NDArray[np.int32]:
    """Return the local weekday as 1 (Monday) to 7."""
    return (((timestamps_ms + offset_ms) // DAY_MS + FIRST_WEEKDAY) % 7 + 1).astype(np.int32)


def _standardised(feature: Feature, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    scaled = (signed_log1p(values) - feature.mean) / feature.std
    return np.where(np.isfinite(scaled), scaled, 0.0).astype(np.float32)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _padded(rows: list[int], width: int) -> list[int]:
    return (rows + [0] * width)[:width]
