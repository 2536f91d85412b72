"""What sources are asked and what they answer."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FIRST_READ = 2
"""Places of a ranked list that are read first, for each that is wanted."""


@dataclass(frozen=True)
class UserQuery:
    """One request for candidates, the same for every source.

    Shapes: `vector` (dim,) float32 unit-norm, `context_codes` (categorical context,) int64,
    `permitted` (items + 1,) bool: the item rows that may be answered, never row 0.
    """

    vector: npt.NDArray[np.float32]
    context_codes: npt.NDArray[np.int64]
    permitted: npt.NDArray[np.bool_]
    now_ms: int


@dataclass(frozen=True)
class Candidates:
    """One source's items, best first: `rows` (n,) int64 and `scores` (n,) float32."""

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, rows: npt.ArrayLike, scores: npt.ArrayLike) -> "Candidates":
        """Convert to the contracted types."""
        return cls(np.asarray(rows, np.int64), np.asarray(scores, np.float32))


@dataclass(frozen=True)
class Retrieved:
    """Candidates of all sources (n,), each with the source that brought it.

    `source` (n,) indexes `names`; `scores` are the scores at that source and not comparable
    between sources; `similarity` (n,) is every candidate's cosine with the user's `vector`
    (dim,). `offers` is what each source brought, before the quotas.
    """

    rows: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    source: npt.NDArray[np.int64]
    similarity: npt.NDArray[np.float32]
    names: tuple[str, ...]
    vector: npt.NDArray[np.float32]
    offers: tuple[Candidates, ...]

    def __len__(self) -> int:
        return len(self.rows)


def permitted_rows(
    num_rows: int, excluded: npt.NDArray[np.int64], allowed: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.bool_]:
    """Return which of `num_rows` item rows may be answered.

    Args:
        num_rows: items + 1.
        excluded: item rows never to be answered; rows out of range are ignored.
        allowed: the only item rows that may be; None allows all.
    """
    mask = np.full(num_rows, allowed is None)
    if allowed is not None:
        mask[_in_range(allowed, num_rows)] = True
    mask[_in_range(excluded, num_rows)] = False
    mask[0] = False
    return mask


def first_permitted(
    rows: npt.NDArray[np.integer], permitted: npt.NDArray[np.bool_], count: int
) -> npt.NDArray[np.int64]:
    """Return the places of the first `count` rows (n,) that are permitted, rising.

    The list is read as far as that takes, in steps that double.
    """
    size = FIRST_READ * count
    while True:
        places = np.flatnonzero(permitted[rows[:size]])
        if len(places) >= count or size >= len(rows):
            return places[:count]
        size *= 2


def _in_range(rows: npt.NDArray[np.int64], num_rows: int) -> npt.NDArray[np.int64]:
    return rows[(rows >= 0) & (rows < num_rows)]
