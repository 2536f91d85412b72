"""Exact search in a few item rows."""

import numpy as np
import numpy.typing as npt

from retrieval.candidates import Candidates


def scan(
    vectors: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64],
    vector: npt.NDArray[np.float32],
    count: int,
) -> Candidates:
    """Return the best `count` of `rows` (n,) by inner product with `vector` (dim,)."""
    scores = np.take(vectors, rows, axis=0) @ vector
    best = top(scores, count)
    return Candidates.of(rows[best], scores[best])


def top(scores: npt.NDArray[np.float32], count: int) -> npt.NDArray[np.int64]:
    """Return the places of the `count` highest scores, highest first, ties in order."""
    if count <= 0:
        return np.zeros(0, np.int64)
    if count < len(scores):
        kept = np.sort(np.argpartition(scores, -count)[-count:])
    else:
        kept = np.arange(len(scores))
    return np.asarray(kept[np.argsort(-scores[kept], kind="stable")], np.int64)
