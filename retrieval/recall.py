"""Recall of an index against exact search over the same vectors."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster.errors import InputError
from retrieval.candidates import permitted_rows
from retrieval.index import Index

CHUNK = 16
# Items with equal vectors stand for each other, whichever of them a search returns.
TIE = 1e-6


@dataclass(frozen=True)
class Truth:
    """Sampled users and the score of their true `count`-th best item.

    Shapes: `vectors` (items + 1, dim), row 0 zero; `queries` (n, dim); `thresholds` (n,).
    """

    vectors: npt.NDArray[np.float32]
    queries: npt.NDArray[np.float32]
    thresholds: npt.NDArray[np.float32]
    count: int

    @classmethod
    def scan(
        cls, vectors: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], count: int
    ) -> "Truth":
        """Search exactly, a few queries at a time."""
        count = min(count, len(vectors) - 1)
        chunks = (queries[begin : begin + CHUNK] for begin in range(0, len(queries), CHUNK))
        thresholds = [_thresholds(vectors, chunk, count) for chunk in chunks]
        return cls(vectors, queries, np.concatenate(thresholds), count)

    def split(self) -> tuple["Truth", "Truth"]:
        """Return two halves, to tune on one and to check on the other; a single user is both."""
        if len(self.queries) < 2:
            return self, self
        return self._part(slice(0, None, 2)), self._part(slice(1, None, 2))

    def recall(self, index: Index) -> float:
        """Return the share of the true best items that the index returns, mean over users."""
        permitted = permitted_rows(len(self.vectors), np.zeros(0, np.int64))
        hits = 0
        for query, threshold in zip(self.queries, self.thresholds, strict=True):
            rows = np.unique(index.search(query, self.count, permitted).rows)
            hits += int(np.sum(np.take(self.vectors, rows, axis=0) @ query >= threshold - TIE))
        return hits / (self.count * len(self.queries))

    def _part(self, places: slice) -> "Truth":
        return Truth(self.vectors, self.queries[places], self.thresholds[places], self.count)


def check_recall(index: Index, truth: Truth, min_recall: float) -> float:
    """Return the recall of an index that may be published.

    Raises:
        InputError: it is below `min_recall`.
    """
    recall = truth.recall(index)
    if recall < min_recall:
        raise InputError(
            f"not published: the {index.kind} index finds {recall:.4f} of the true top "
            f"{truth.count} of {len(truth.queries)} sampled users, "
            f"retrieval.index.min_recall is {min_recall}"
        )
    return recall


def _thresholds(
    vectors: npt.NDArray[np.float32], queries: npt.NDArray[np.float32], count: int
) -> npt.NDArray[np.float32]:
    scores = queries @ vectors[1:].T  # (chunk, items)
    return np.partition(scores, -count, axis=1)[:, -count]
