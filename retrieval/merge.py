"""Several sources' candidates as one list: quotas, shortfalls, attribution."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from retrieval.candidates import Candidates


def merge(
    found: Sequence[Candidates], quotas: Sequence[int]
) -> tuple[Candidates, npt.NDArray[np.int64]]:
    """Take each source's best up to its quota, then fill what is short from what is left.

    An item that several sources bring belongs to the first that has it within its quota, and the
    later ones move on to their next best. The result has `sum(quotas)` items unless all sources
    together have fewer; it is ordered by source, and within a source best first.

    Returns:
        The merged candidates (n,) and the number of the source of each (n,).
    """
    rows = np.concatenate([one.rows for one in found])
    scores = np.concatenate([one.scores for one in found])
    source = np.repeat(np.arange(len(found)), [len(one) for one in found])
    chosen = np.zeros(len(rows), np.bool_)
    for number, quota in enumerate(quotas):
        open_places = np.flatnonzero((source == number) & ~np.isin(rows, rows[chosen]))
        chosen[open_places[:quota]] = True
    _fill(chosen, rows, sum(quotas) - int(chosen.sum()))
    return Candidates(rows[chosen], scores[chosen]), source[chosen]


def _fill(chosen: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64], missing: int) -> None:
    """Choose `missing` more places in order, each row once."""
    if missing <= 0:
        return
    left = np.flatnonzero(~chosen & ~np.isin(rows, rows[chosen]))
    _, first = np.unique(rows[left], return_index=True)
    chosen[left[np.sort(first)[:missing]]] = True
