"""The index of large catalogues: inverted lists of half-precision vectors, some lists probed."""

import json
from pathlib import Path

import faiss
import numpy as np
import numpy.typing as npt

from retrieval.candidates import Candidates
from retrieval.lookup import look_up, selector_of
from retrieval.recall import Truth

FILE = "ivf.faiss"
PARAMETERS = "ivf.json"
LISTS_PER_ROOT = 4
POINTS_PER_LIST = 64
ITERATIONS = 10
# Tuned and checked on different users: aim a little above the recall to be reached.
MARGIN = 0.01


class IvfIndex:
    """Probes the lists nearest to a vector; the ids are the item rows.

    Args:
        index: over all item rows, row 0 included and never permitted.
        num_probes: lists that a search visits, tuned on real users.
    """

    kind = "ivf"

    def __init__(self, index: faiss.IndexIVF, num_probes: int) -> None:
        self.index = index
        self.num_probes = num_probes

    @classmethod
    def build(cls, vectors: npt.NDArray[np.float32], truth: Truth, min_recall: float) -> "IvfIndex":
        """Cluster vectors (items + 1, dim) and tune the probes to reach `min_recall`."""
        num_lists = max(1, round(LISTS_PER_ROOT * (len(vectors) - 1) ** 0.5))
        num_lists = min(num_lists, len(vectors))
        index = faiss.index_factory(
            vectors.shape[1], f"IVF{num_lists},SQfp16", faiss.METRIC_INNER_PRODUCT
        )
        index.cp.max_points_per_centroid = POINTS_PER_LIST
        index.cp.min_points_per_centroid = 1
        index.cp.niter = ITERATIONS
        contiguous = np.ascontiguousarray(vectors)
        index.train(contiguous[1:] if len(contiguous) > num_lists else contiguous)
        index.add(contiguous)
        built = cls(index, num_lists)
        built._tune(truth, min(1.0, min_recall + MARGIN))
        return built

    @classmethod
    def open(cls, folder: Path) -> "IvfIndex":
        """Memory-map what `save` wrote, pages shared between replicas."""
        index = faiss.read_index(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        return cls(index, json.loads((folder / PARAMETERS).read_text())["num_probes"])

    def save(self, folder: Path) -> None:
        """Write the index and its tuned probes."""
        faiss.write_index(self.index, str(folder / FILE))
        (folder / PARAMETERS).write_text(json.dumps({"num_probes": self.num_probes}))

    def search(
        self, vector: npt.NDArray[np.float32], count: int, permitted: npt.NDArray[np.bool_]
    ) -> Candidates:
        """Return the best permitted rows, see `retrieval.index.Index`.

        Where the probed lists hold too few, more are probed: there are no holes.
        """
        count = min(count, int(np.count_nonzero(permitted)))
        selector = selector_of(permitted)
        num_probes = self.num_probes
        while True:
            parameters = faiss.SearchParametersIVF(nprobe=num_probes, sel=selector)
            found = look_up(self.index, vector, count, parameters)
            if len(found) == count or num_probes >= self.index.nlist:
                return found
            num_probes = min(4 * num_probes, self.index.nlist)

    def _tune(self, truth: Truth, min_recall: float) -> None:
        """Set the smallest number of probes, by halving steps, that reaches the recall."""
        low, high = 0, int(self.index.nlist)
        while high - low > max(1, low // 8):
            self.num_probes = (low + high) // 2 if low else max(1, high // 8)
            if truth.recall(self) >= min_recall:
                high = self.num_probes
            else:
                low = self.num_probes
        self.num_probes = high
