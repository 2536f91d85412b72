"""Items nearest to the user's vector."""

import numpy as np
import numpy.typing as npt

from retrieval.candidates import Candidates, UserQuery
from retrieval.index import Index
from retrieval.subset import scan

# Below this share of permitted items approximate search returns holes, and scanning is cheap.
SCANNED_SHARE = 0.1


class TwoTower:
    """Searches the index, or scans exactly what a narrow filter leaves.

    Args:
        index: over all item rows.
        vectors: item vectors (items + 1, dim), memory-mapped.
    """

    name = "two_tower"

    def __init__(self, index: Index, vectors: npt.NDArray[np.float32]) -> None:
        self.index = index
        self.vectors = vectors

    def candidates(self, query: UserQuery, count: int) -> Candidates:
        """Return the permitted items with the highest cosine."""
        num_permitted = int(np.count_nonzero(query.permitted))
        count = min(count, num_permitted)
        if num_permitted < SCANNED_SHARE * len(self.vectors):
            return scan(self.vectors, np.flatnonzero(query.permitted), query.vector, count)
        return self.index.search(query.vector, count, query.permitted)
