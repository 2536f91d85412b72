"""Point-in-time counts: what was known of an entity before the current interval began."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from features.schema import Schema

COUNT_SCALE = 10.0
SUM_GRID = 65_536


def bucket_of(
    timestamps_ms: npt.NDArray[np.int64], interval_ms: int, offset_ms: int
) -> npt.NDArray[np.int64]:
    """Return the number of the update interval that each instant lies in."""
    return np.asarray((timestamps_ms + offset_ms) // interval_ms, dtype=np.int64)


@dataclass(frozen=True)
class RateTable:
    """Cumulative counts of one entity column.

    Shapes: `keys` (n,) int64 sorted, `code * (num_buckets + 1) + (bucket - first_bucket)`;
    `cumulative` (n, 1 + tasks) float32, impressions and label sums to the end of that bucket.
    """

    keys: npt.NDArray[np.int64]
    cumulative: npt.NDArray[np.float32]
    first_bucket: int
    num_buckets: int

    def as_of(
        self, codes: npt.NDArray[Any], buckets: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return the counts of codes (n,) from all buckets before `buckets` (n,): (n, 1 + tasks).

        Code 0 (unknown) has no counts.
        """
        width = self.cumulative.shape[1]
        if not len(self.keys):
            return np.zeros((len(codes), width), np.float32)
        relative = np.clip(buckets - self.first_bucket, 0, self.num_buckets)
        wanted = codes.astype(np.int64) * (self.num_buckets + 1) + relative
        index = np.searchsorted(self.keys, wanted, side="left") - 1
        found = self.keys[np.maximum(index, 0)] // (self.num_buckets + 1)
        is_known = (index >= 0) & (found == codes) & (codes > 0)
        return np.where(is_known[:, None], self.cumulative[np.maximum(index, 0)], 0.0).astype(
            np.float32
        )

    def latest(self, num_rows: int) -> npt.NDArray[np.float32]:
        """Return the counts of codes 0..num_rows-1 after every bucket: (num_rows, 1 + tasks)."""
        after = np.full(num_rows, self.first_bucket + self.num_buckets, np.int64)
        return self.as_of(np.arange(num_rows), after)

    def save(self, folder: Path) -> None:
        """Write keys, counts and the bucket range."""
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "keys.npy", self.keys)
        np.save(folder / "cumulative.npy", self.cumulative)
        np.save(folder / "buckets.npy", np.asarray([self.first_bucket, self.num_buckets]))

    @classmethod
    def open(cls, folder: Path) -> "RateTable":
        """Memory-map what `save` wrote."""
        first, num = (int(value) for value in np.load(folder / "buckets.npy"))
        keys = np.load(folder / "keys.npy", mmap_mode="r")
        return cls(keys, np.load(folder / "cumulative.npy", mmap_mode="r"), first, num)


def label_sums(labels: npt.NDArray[np.float32], schema_kinds: list[str]) -> npt.NDArray[np.float32]:
    """Return what a label adds to the counts: itself, or log1p for watch time; (n, tasks).

    Rounded to multiples of 1 / SUM_GRID, so that float64 sums are exact in any order: counts then
    do not depend on how the work was divided, and live ones equal prepared ones bit for bit.
    """
    exact = labels.astype(np.float64)
    columns = [
        np.log1p(np.maximum(exact[:, i], 0.0)) if kind == "watch_time" else exact[:, i]
        for i, kind in enumerate(schema_kinds)
    ]
    steps = np.nan_to_num(np.stack(columns, axis=1))
    return np.asarray(np.rint(steps * SUM_GRID) / SUM_GRID, dtype=np.float32)


def smoothed_rates(counts: npt.NDArray[np.float32], schema: Schema) -> npt.NDArray[np.float32]:
    """Return smoothed rates relative to the base rate: (..., entities, tasks).

    Binary tasks give `logit((sum + s * base) / (n + s)) - logit(base)`, watch time the smoothed
    mean minus its base; 0 means "as everyone" and is what an unknown entity has.
    """
    base = np.asarray(schema.base_rates, np.float64)
    prior = schema.smoothing
    impressions = counts[..., :1].astype(np.float64)
    rates = (counts[..., 1:] + prior * base) / (impressions + prior)
    is_binary = np.asarray([task.kind == "binary" for task in schema.tasks])
    return np.where(is_binary, _logit(rates) - _logit(base), rates - base).astype(np.float32)


def rate_features(counts: npt.NDArray[np.float32], schema: Schema) -> npt.NDArray[np.float32]:
    """Return model inputs from counts (..., entities, 1 + tasks): (..., entities * (1 + tasks))."""
    support = (np.log1p(counts[..., :1]) / COUNT_SCALE).astype(np.float32)
    features = np.concatenate([support, smoothed_rates(counts, schema)], axis=-1)
    flat: npt.NDArray[np.float32] = features.reshape(*counts.shape[:-2], -1)
    return flat


def _logit(rates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    clipped = np.clip(rates, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
