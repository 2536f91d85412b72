"""What is counted of a bundle's answers, so that it can be compared with another one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from serve.messages import Answer
from serve.versions.latencies import Latencies

EDGES = np.concatenate(
    [np.geomspace(1e-4, 0.1, 13), np.linspace(0.15, 0.95, 17), np.geomspace(1.0, 1e4, 25)]
)
"""Of the bins of predictions: fine for probabilities, and up to hours of watch time."""
NUM_BINS = len(EDGES) + 1
PSI_BINS = 10
LEAST_SHARE = 1e-4
WINDOW = 20_000
"""Answers after which older ones begin to count less."""
TAIL = 0.99
OVERLOAD = "overload"
CACHED = "cache"
"""The time that an answer tells which was not computed."""
FAULTS = ("failed", "late")

Bins = npt.NDArray[np.float64]


@dataclass
class Tally:
    """Sums over answers.

    Attributes:
        answers: how many, but for those that overload made cheaper, or that came from a cache.
        faults: those in which a stage failed or was late.
        empties: those without an item.
        ms: time in the stages of those without a fault.
        latencies: the same, in bins.
        overlaps: share of the items that another bundle showed too, summed.
        compared: answers that `overlaps` is of.
        predictions: of the items shown, by task and bin (NUM_BINS,).
    """

    answers: float = 0.0
    faults: float = 0.0
    empties: float = 0.0
    ms: float = 0.0
    latencies: Latencies = field(default_factory=Latencies)
    overlaps: float = 0.0
    compared: float = 0.0
    predictions: dict[str, Bins] = field(default_factory=dict)

    def note(self, answer: Answer, shown: Sequence[int | str] = ()) -> None:
        """Count an answer.

        Args:
            answer: of this bundle.
            shown: the items that another bundle answered.
        """
        reasons = (answer.degraded or "").split(", ")
        if is_cached(answer) or any(reason.startswith(OVERLOAD) for reason in reasons):
            return
        self.answers += 1
        if any(reason.endswith(FAULTS) for reason in reasons):
            self.faults += 1
            return
        self.empties += not answer.items
        taken_ms = sum(ms for name, ms in answer.timings_ms.items() if name != "total")
        self.ms += taken_ms
        self.latencies.note(taken_ms)
        if shown:
            self.compared += 1
            own = {item.item_id for item in answer.items}
            self.overlaps += len(own & set(shown)) / len(set(shown))
        self._note_predictions(answer)

    def note_unseen(self, answer: Answer | None, shown: Sequence[int | str]) -> None:
        """Count an answer beside the one that was shown; None where there was none."""
        if answer is not None:
            self.note(answer, shown)
            return
        self.answers += 1
        self.faults += 1

    def add(self, other: "Tally") -> None:
        """Add another tally of the same bundle; what is long past counts half."""
        if self.answers > WINDOW:
            self._halve()
        self.answers += other.answers
        self.faults += other.faults
        self.empties += other.empties
        self.ms += other.ms
        self.latencies.add(other.latencies)
        self.overlaps += other.overlaps
        self.compared += other.compared
        for task, bins in other.predictions.items():
            self.predictions[task] = self.predictions.get(task, np.zeros(NUM_BINS)) + bins

    @property
    def fault_share(self) -> float:
        """Share of the answers that had a fault or no item."""
        return (self.faults + self.empties) / max(self.answers, 1.0)

    @property
    def mean_ms(self) -> float:
        """Mean time in the stages."""
        return self.ms / max(self.answers - self.faults, 1.0)

    @property
    def tail_ms(self) -> float | None:
        """The time in the stages that one answer in a hundred exceeds; None without answers."""
        return self.latencies.quantile_ms(TAIL)

    @property
    def overlap(self) -> float | None:
        """Mean share of the items that the other bundle showed too."""
        return self.overlaps / self.compared if self.compared else None

    def drift(self, other: "Tally") -> dict[str, float]:
        """Return the population stability index of each task that both predict."""
        both = self.predictions.keys() & other.predictions.keys()
        return {task: psi(self.predictions[task], other.predictions[task]) for task in sorted(both)}

    def beside(self, other: "Tally") -> dict[str, Any]:
        """Return the figures in which two bundles are compared."""
        return {
            "fault_share": round(self.fault_share, 4),
            "mean_ms": [round(self.mean_ms, 2), round(other.mean_ms, 2)],
            "p99_ms": [round(tally.tail_ms or 0.0, 2) for tally in (self, other)],
            "overlap": None if self.overlap is None else round(self.overlap, 3),
            "drift": {task: round(psi, 3) for task, psi in self.drift(other).items()},
        }

    def __str__(self) -> str:
        overlap = "none" if self.overlap is None else f"{self.overlap:.2f}"
        return (
            f"{self.answers:.0f} answers, {self.faults:.0f} with faults, {self.empties:.0f} empty, "
            f"{self.mean_ms:.1f} ms in the stages, overlap with what was shown: {overlap}"
        )

    def _note_predictions(self, answer: Answer) -> None:
        values: dict[str, list[float]] = {}
        for item in answer.items:
            for task, prediction in item.predictions.items():
                if prediction is not None:
                    values.setdefault(task, []).append(prediction)
        for task, found in values.items():
            bins = self.predictions.setdefault(task, np.zeros(NUM_BINS))
            np.add.at(bins, np.searchsorted(EDGES, found), 1)

    def _halve(self) -> None:
        for name in ("answers", "faults", "empties", "ms", "overlaps", "compared"):
            setattr(self, name, getattr(self, name) / 2)
        self.latencies.halve()
        self.predictions = {task: bins / 2 for task, bins in self.predictions.items()}


def is_cached(answer: Answer) -> bool:
    """Tell whether an answer came from a cache."""
    return CACHED in answer.timings_ms


def psi(own: Bins, other: Bins) -> float:
    """Return the population stability index over about PSI_BINS bins of equal mass in `other`."""
    if not own.sum() or not other.sum():
        return 0.0
    places = np.minimum((PSI_BINS * _middles(other)).astype(int), PSI_BINS - 1)
    shares = [
        np.maximum(np.bincount(places, bins, PSI_BINS) / bins.sum(), LEAST_SHARE)
        for bins in (own, other)
    ]
    return float(np.sum((shares[0] - shares[1]) * np.log(shares[0] / shares[1])))


def _middles(bins: Bins) -> Bins:
    """Return the share of the mass below the middle of each bin."""
    shares: Bins = bins / bins.sum()
    return np.cumsum(shares) - shares / 2


def merged(tallies: Sequence[Tally]) -> Tally:
    """Return the sum."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total


Tallies = Mapping[str, Tally]
"""By bundle."""
