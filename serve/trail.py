"""How the candidates of a request that wants explanations came: ranks at each source, and after."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.candidates import Retrieved
from serve.explanation import Offer, Step


@dataclass(frozen=True)
class Trail:
    """Ranks from 1 of the candidates (n,).

    Shapes: `ranks` (sources, n) int64 at each source, 0 where it did not have the item;
    `scores` (sources, n) float32 there; `retrieved` (n,) int64 on leaving retrieval.
    """

    ranks: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    retrieved: npt.NDArray[np.int64]

    @classmethod
    def of(cls, found: Retrieved, order: npt.NDArray[np.int64]) -> "Trail":
        """Follow what was found, of which the places `order` (n,) are the candidates."""
        rows = found.rows[order]
        ranks = np.zeros((len(found.offers), len(rows)), np.int64)
        scores = np.zeros(ranks.shape, np.float32)
        for number, offered in enumerate(found.offers):
            _, own, theirs = np.intersect1d(
                rows, offered.rows, assume_unique=True, return_indices=True
            )
            ranks[number, own] = theirs + 1
            scores[number, own] = offered.scores[theirs]
        return cls(ranks, scores, ranks_of(found.similarity)[order])

    def offers(self, place: int, names: tuple[str, ...]) -> tuple[Offer, ...]:
        """Return the sources that had a candidate."""
        return tuple(
            Offer(name, rank, score)
            for name, rank, score in zip(
                names, self.ranks[:, place].tolist(), self.scores[:, place].tolist(), strict=True
            )
            if rank
        )

    def steps(self, place: int) -> tuple[Step, ...]:
        """Return how far a candidate came before it was ranked."""
        retrieved = int(self.retrieved[place])
        return Step("retrieve", None, retrieved), Step("filter", retrieved, place + 1)


def ranks_of(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the rank from 1 of each score (n,), the first of equals before the others."""
    ranks = np.empty(len(scores), np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return ranks
