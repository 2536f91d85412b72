"""Popularity when the bundle is made: time-decayed positives, overall and by context value."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cluster.errors import InputError
from features.examples import Examples
from features.schema import Schema
from features.timelines import Timelines, mapped_arrays, save_arrays
from retrieval.candidates import Candidates

OVERALL = 0


@dataclass(frozen=True)
class PopularLists:
    """Items from the most to the least popular, one list per context value.

    List c is `offsets[c]:offsets[c + 1]` of `rows` and `scores` (n,); list 0 is over everybody
    and serves unknown contexts. `column` (1,) is the context column, -1 where there is none.
    """

    column: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]

    def code(self, context_codes: npt.NDArray[np.int64]) -> int:
        """Return the list that a request's context chooses."""
        column = int(self.column[0])
        return OVERALL if column < 0 else int(context_codes[column])

    def ranked(self, code: int) -> Candidates:
        """Return one whole list; a memory-mapped view."""
        place = slice(int(self.offsets[code]), int(self.offsets[code + 1]))
        return Candidates(self.rows[place], self.scores[place])  # type: ignore[arg-type]

    def save(self, folder: Path) -> None:
        """Write every array as .npy."""
        save_arrays(self, folder)

    @classmethod
    def open(cls, folder: Path) -> "PopularLists":
        """Memory-map what `save` wrote."""
        return cls(**mapped_arrays(cls, folder))


@dataclass(frozen=True)
class Decay:
    """How much a positive counts: half as much with every half-life before `end_ms`."""

    end_ms: int
    half_life_ms: int
    has_time: bool

    def weights(self, timestamps_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the weights of positives at these instants; all 1 for order-only data."""
        if not self.has_time:
            return np.ones(len(timestamps_ms))
        return np.asarray(0.5 ** (np.maximum(self.end_ms - timestamps_ms, 0) / self.half_life_ms))


def context_column(schema: Schema, context: str | None) -> int:
    """Return the place of a categorical context column, -1 for None.

    Raises:
        InputError: there is no such column.
    """
    if context is None:
        return -1
    known = [feature.name for feature in schema.select("context", "categorical")]
    if context not in known:
        raise InputError(
            f"retrieval.popular.context: no categorical context column {context!r}; "
            f"known: {', '.join(known) or 'none'}"
        )
    return known.index(context)


def popularity(examples: Examples, decay: Decay, column: int) -> npt.NDArray[np.float64]:
    """Sum decayed positives over all partitions: (context values, items + 1).

    Row 0 is over everybody. Memory is that of the result, whatever the number of events.
    """
    contexts = examples.schema.select("context", "categorical")
    num_lists = contexts[column].rows if column >= 0 else 1
    sums = np.zeros((num_lists, examples.catalogue.num_items + 1))
    for partition in range(examples.num_partitions):
        _add(sums, examples.timelines(partition), decay, column)
    sums[:, 0] = 0
    return sums


def ranked_lists(sums: npt.NDArray[np.float64], column: int) -> PopularLists:
    """Sort every list; the one over everybody holds all items, the others what has positives."""
    rows = [np.argsort(-sums[OVERALL, 1:], kind="stable") + 1]
    for values in sums[1:]:
        own = np.flatnonzero(values)
        rows.append(own[np.argsort(-values[own], kind="stable")])
    scores = [sums[code, own] for code, own in enumerate(rows)]
    return PopularLists(
        np.asarray([column]),
        np.cumsum([0, *map(len, rows)]),
        np.concatenate(rows).astype(np.int32),
        np.concatenate(scores).astype(np.float32),
    )


def _add(sums: npt.NDArray[np.float64], timelines: Timelines, decay: Decay, column: int) -> None:
    weights = decay.weights(np.asarray(timelines.timestamps))
    num_items = sums.shape[1]
    sums[OVERALL] += np.bincount(timelines.items, weights, minlength=num_items)
    if column < 0:
        return
    codes = timelines.context_codes[:, column].astype(np.int64)
    flat = np.bincount(codes * num_items + timelines.items, weights, minlength=sums.size)
    sums[1:] += flat.reshape(sums.shape)[1:]
