"""The items that a step's softmax ranks: all trained ones, or a sample with its corrections."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from features.catalogue import Catalogue
from train.config import RetrievalTraining

Rows = npt.NDArray[np.int64]
Offsets = npt.NDArray[np.float32]


class Candidates(Protocol):
    """Chooses the item rows of a step and the offsets of their logits."""

    def draw(self, targets: Rows, rng: np.random.Generator) -> tuple[Rows, Offsets]:
        """Return distinct item rows (n,) that include all targets, and offsets (n,)."""
        ...


class AllItems:
    """Every trained item, every step: the full softmax."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._offsets = np.zeros(len(rows), np.float32)

    def draw(self, targets: Rows, rng: np.random.Generator) -> tuple[Rows, Offsets]:
        """Return all items without offsets."""
        return self.rows, self._offsets


class SampledItems:
    """The step's own targets and uniformly drawn others, corrected for how often they occur.

    An item is in the sample with probability `1 - (1 - u) * (1 - p)^k`: u uniformly, p as one
    of k targets. Minus its logarithm as offset (the logQ correction, as in Yi et al. 2019, for a
    sample without repetitions) makes the sampled partition sum an unbiased estimate.

    Args:
        rows: the trained items.
        popularity: their training positives, in the order of `rows`.
        num_negatives: uniform draws.
        correction: 1 corrects fully; 0 leaves popular items the more frequent negatives.
    """

    def __init__(
        self,
        rows: Rows,
        popularity: npt.NDArray[np.float64],
        *,
        num_negatives: int,
        correction: float,
    ) -> None:
        self.rows = rows
        self.num_negatives = min(num_negatives, len(rows))
        self.correction = correction
        self._log_missed = np.log1p(-popularity / (popularity.sum() + 1.0))
        self._log_not_drawn = np.log1p(-min(self.num_negatives / len(rows), 1.0 - 1e-12))

    def draw(self, targets: Rows, rng: np.random.Generator) -> tuple[Rows, Offsets]:
        """Return the targets and uniform negatives, with their logQ offsets."""
        drawn = rng.choice(len(self.rows), self.num_negatives, replace=False, shuffle=False)
        own = np.searchsorted(self.rows, np.unique(targets))
        index = np.union1d(drawn, own)
        log_absent = self._log_not_drawn + len(targets) * self._log_missed[index]
        offsets = -self.correction * np.log(-np.expm1(log_absent))
        return self.rows[index], offsets.astype(np.float32)


def candidates(
    catalogue: Catalogue, popularity: npt.NDArray[np.float64], training: RetrievalTraining
) -> Candidates:
    """Choose by the number of trained items.

    Items that the training split never showed are no candidates: taught as negatives, new items
    would never be retrieved.
    """
    rows = np.flatnonzero((np.asarray(catalogue.train_events) > 0) | (popularity > 0))
    if len(rows) <= training.full_softmax_items:
        return AllItems(rows)
    return SampledItems(
        rows,
        popularity[rows],
        num_negatives=training.num_negatives,
        correction=training.logq_correction,
    )
