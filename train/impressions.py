"""One split's impressions over all partitions, addressed by one running index."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from features.assembly import Inputs
from features.examples import Examples

SHUFFLED_PARTITIONS = 8
LABELS = "labels"


class Impressions:
    """The memory-mapped impressions of a split.

    Args:
        examples: the prepared data.
        split: "train", "validation" or "test".
    """

    def __init__(self, examples: Examples, split: str) -> None:
        self.examples = examples
        self.shards = [examples.shard(split, p) for p in range(examples.num_partitions)]
        self.timelines = [examples.timelines(p) for p in range(examples.num_partitions)]
        self.starts = np.cumsum([0, *(len(shard) for shard in self.shards)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a shard array over all partitions, in running order."""
        return np.concatenate([getattr(shard, name) for shard in self.shards])

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        """All labels (n, tasks), NaN where missing."""
        return self.column(LABELS)

    def shuffled(self, seed: tuple[int, ...]) -> npt.NDArray[np.int64]:
        """Return all running indices in random order.

        Partitions are shuffled together in groups, so that a batch reads from few of them.
        """
        random = np.random.default_rng(seed)
        partitions = random.permutation(len(self.shards))
        groups = [
            np.concatenate([np.arange(self.starts[p], self.starts[p + 1]) for p in group])
            for group in np.array_split(partitions, -(-len(partitions) // SHUFFLED_PARTITIONS))
        ]
        return np.concatenate([random.permutation(group) for group in groups])

    def batch(self, index: npt.NDArray[np.int64]) -> Inputs:
        """Assemble inputs and `labels` of running indices (batch,), ordered by partition."""
        index = np.sort(index)
        cuts = np.searchsorted(index, self.starts)
        parts = [
            self._part(p, index[cuts[p] : cuts[p + 1]] - self.starts[p])
            for p in range(len(self.shards))
            if cuts[p] < cuts[p + 1]
        ]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def num_known(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Count the labels that impressions have, by task (tasks,)."""
        counts = np.zeros(self.shards[0].labels.shape[1], np.int64)
        for shard, start in zip(self.shards, self.starts[:-1], strict=True):
            own = index[(start <= index) & (index < start + len(shard))] - start
            counts += (~np.isnan(shard.labels[own])).sum(0)
        return counts

    def in_order(self, size: int, limit: int | None = None) -> Iterator[Inputs]:
        """Yield batches in running order; with a limit, of evenly spaced impressions."""
        chosen = self.spaced(limit)
        for start in range(0, len(chosen), size):
            yield self.batch(chosen[start : start + size])

    def spaced(self, limit: int | None) -> npt.NDArray[np.int64]:
        """Return running indices, evenly spaced where there are more than `limit`."""
        size = len(self) if limit is None else min(limit, len(self))
        return np.linspace(0, len(self) - 1, size).round().astype(np.int64)

    def _part(self, partition: int, index: npt.NDArray[np.int64]) -> Inputs:
        shard = self.shards[partition]
        inputs = self.examples.ranking_inputs(shard, self.timelines[partition], index)
        return {**inputs, LABELS: shard.labels[index]}
