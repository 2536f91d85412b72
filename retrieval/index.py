"""The interface of an index over item vectors."""

from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from retrieval.candidates import Candidates


class Index(Protocol):
    """Finds the permitted item rows with the highest inner product."""

    kind: str

    def search(
        self, vector: npt.NDArray[np.float32], count: int, permitted: npt.NDArray[np.bool_]
    ) -> Candidates:
        """Return the best permitted rows for one vector, best first.

        Args:
            vector: unit-norm (dim,).
            count: rows wanted; fewer come only where fewer are permitted.
            permitted: (items + 1,); row 0 is never permitted.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write everything that `open` of the same class needs."""
        ...
