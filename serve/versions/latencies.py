"""Latencies counted in bins, so that quantiles of many replicas' answers can be read together."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

EDGES_MS = np.geomspace(0.1, 100_000.0, 101)
"""Of the bins: each is a seventh wider than the one before it."""
NUM_BINS = len(EDGES_MS) + 1


@dataclass
class Latencies:
    """Counts by bin (NUM_BINS,); the first is open below, the last above."""

    bins: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(NUM_BINS))

    def note(self, latency_ms: float) -> None:
        """Count one."""
        self.bins[np.searchsorted(EDGES_MS, latency_ms)] += 1

    def add(self, other: "Latencies") -> None:
        """Count all of the other's."""
        self.bins = self.bins + other.bins

    def halve(self) -> None:
        """Let what was counted so far count half."""
        self.bins = self.bins / 2

    @property
    def count(self) -> float:
        """How many there are."""
        return float(self.bins.sum())

    def quantile_ms(self, share: float) -> float | None:
        """Return what a share of them stays below, to a few per cent; None where there are none."""
        if not self.count:
            return None
        below = np.cumsum(self.bins) / self.count
        bounds = np.concatenate([[0.0], EDGES_MS, EDGES_MS[-1:]])
        return float(np.interp(share, np.concatenate([[0.0], below]), bounds))
