"""One vector's search in a faiss index: on one thread, permitted rows only."""

import faiss
import numpy as np
import numpy.typing as npt

from retrieval.candidates import Candidates


def selector_of(permitted: npt.NDArray[np.bool_]) -> faiss.IDSelector:
    """Return the selector of permitted item rows (items + 1,)."""
    return faiss.IDSelectorBitmap(np.packbits(permitted, bitorder="little"))


def look_up(
    index: faiss.Index,
    vector: npt.NDArray[np.float32],
    count: int,
    parameters: faiss.SearchParameters,
) -> Candidates:
    """Return up to `count` selected rows for one vector (dim,), best first.

    A replica has one core, and faiss would start a thread per core of the host: the setting is
    the calling thread's own, so it is made with every search.
    """
    if count <= 0:
        return Candidates.of([], [])
    faiss.omp_set_num_threads(1)
    scores, rows = index.search(vector[None], min(count, index.ntotal), params=parameters)
    found = rows[0] >= 0
    return Candidates.of(rows[0][found], scores[0][found])
