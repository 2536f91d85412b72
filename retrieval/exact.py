"""The exact index: every item's vector in half precision, scanned."""

from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from retrieval.candidates import Candidates
from retrieval.lookup import look_up, selector_of

FILE = "exact.faiss"


class ExactIndex:
    """Scans all vectors; the ids are the item rows, row 0 included and never permitted."""

    kind = "exact"

    def __init__(self, index: faiss.Index) -> None:
        self.index = index

    @classmethod
    def build(cls, vectors: npt.NDArray[np.float32]) -> "ExactIndex":
        """Store vectors (items + 1, dim)."""
        index = faiss.IndexScalarQuantizer(
            vectors.shape[1], faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        index.add(np.ascontiguousarray(vectors))
        return cls(index)

    @classmethod
    def open(cls, folder: Path) -> "ExactIndex":
        """Memory-map what `save` wrote."""
        return cls(faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC))

    def save(self, folder: Path) -> None:
        """Write the index."""
        faiss.write_index(self.index, str(folder / FILE))

    def search(
        self, vector: npt.NDArray[np.float32], count: int, permitted: npt.NDArray[np.bool_]
    ) -> Candidates:
        """Return the best permitted rows, see `retrieval.index.Index`."""
        parameters = faiss.SearchParameters(sel=selector_of(permitted))
        return look_up(self.index, vector, count, parameters)
