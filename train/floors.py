"""The rankings that two-tower retrieval has to beat: popularity and item-to-item co-occurrence."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from features.encoding import DAY_MS
from features.examples import Examples
from features.timelines import SPLITS
from train.retrieval_queries import Queries

Scores = npt.NDArray[np.float32]


class Scorer(Protocol):
    """Scores the whole catalogue for queries."""

    def scores(self, queries: Queries) -> Scores:
        """Return scores (n, items + 1), higher is better; column 0 is no item."""
        ...


class Popular:
    """Every user gets the most frequent positives.

    Args:
        examples: the prepared data.
        before: the split whose past is counted.
        half_life_days: a positive so much older than the newest counts half; None: all alike.
    """

    def __init__(
        self, examples: Examples, before: str, *, half_life_days: float | None = None
    ) -> None:
        counts = np.zeros(examples.catalogue.num_items + 1)
        parts = [_known(examples, p, before) for p in range(examples.num_partitions)]
        newest = max((int(ms.max()) for _, _, ms in parts if len(ms)), default=0)
        for _, items, ms in parts:
            age_days = (newest - ms) / DAY_MS
            weights = np.exp2(-age_days / half_life_days) if half_life_days else None
            counts += np.bincount(items, weights, minlength=len(counts))
        self.popularity = counts.astype(np.float32)

    def scores(self, queries: Queries) -> Scores:
        """Return the same scores for everybody."""
        return np.tile(self.popularity, (len(queries), 1))


class CoOccurrence:
    """Items score the sum of their cosines to the items of the user's past.

    The cosine of two items is over the users that had positives with them in the training split.
    Scores come from two sparse products through the users, so that no item x item matrix is kept.
    """

    def __init__(self, examples: Examples) -> None:
        num_columns = examples.catalogue.num_items + 1
        parts = [_known(examples, p, "validation") for p in range(examples.num_partitions)]
        pairs = np.unique(np.concatenate([u * np.int64(num_columns) + i for u, i, _ in parts]))
        users, items = pairs // num_columns, pairs % num_columns
        norms = np.sqrt(np.bincount(items, minlength=num_columns))
        self.inverse_norms = torch.from_numpy(1.0 / np.maximum(norms, 1.0)).float()
        self.by_user = torch.sparse_coo_tensor(
            torch.from_numpy(np.stack([users, items])),
            torch.ones(len(users)),
            (int(users.max(initial=0)) + 1, num_columns),
            check_invariants=False,
        ).coalesce()

    def scores(self, queries: Queries) -> Scores:
        """Sum over each query's known items, repetitions counted once."""
        past = torch.zeros(len(queries), len(self.inverse_norms))
        past[
            torch.from_numpy(queries.known_query), torch.from_numpy(queries.known_items).long()
        ] = 1
        shared = torch.sparse.mm(self.by_user, (past * self.inverse_norms).T)
        cosines = torch.sparse.mm(self.by_user.T, shared).T * self.inverse_norms
        scores: Scores = (cosines - past).numpy()
        return scores


def _known(
    examples: Examples, partition: int, before: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Return users, items and instants of a partition's positives in the splits before one."""
    timelines = examples.timelines(partition)
    users = np.repeat(timelines.users, np.diff(timelines.offsets))
    is_known = np.asarray(timelines.split) < SPLITS.index(before)
    return users[is_known], timelines.items[is_known], timelines.timestamps[is_known]
