"""Rankings of the whole catalogue: what one scorer answered to the queries of a split."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.examples import Examples
from train.floors import Scorer
from train.retrieval_metrics import NUM_RANKED, PerUser, retrieval_metrics
from train.retrieval_queries import Queries

CHUNK_QUERIES, CHUNK_SCORES = 256, 1 << 24


@dataclass(frozen=True)
class Rankings:
    """What one scorer answered: `ranked` (n, NUM_RANKED) rows and the targets beside them.

    `num_known` (n,) counts the positives that were known of each user.
    """

    users: npt.NDArray[np.int32]
    num_known: npt.NDArray[np.int64]
    ranked: npt.NDArray[np.int64]
    target_query: npt.NDArray[np.int64]
    target_items: npt.NDArray[np.int32]

    def metrics(self, is_wanted: npt.NDArray[np.bool_] | None = None) -> PerUser:
        """Compute the metrics, where given on some of the targets alone."""
        keep = slice(None) if is_wanted is None else is_wanted
        return retrieval_metrics(self.ranked, self.target_query[keep], self.target_items[keep])

    @classmethod
    def none(cls) -> "Rankings":
        """Answer nobody."""
        users, counts = np.zeros(0, np.int32), np.zeros(0, np.int64)
        return cls(users, counts, np.zeros((0, NUM_RANKED), np.int64), counts, users)


def chunk_of(examples: Examples) -> int:
    """Return how many queries are scored at a time, so that their scores stay in memory."""
    return max(1, min(CHUNK_QUERIES, CHUNK_SCORES // (examples.catalogue.num_items + 1)))


def rankings(scorer: Scorer, chunks: Iterable[Queries], *, exclude_seen: bool) -> Rankings:
    """Rank the whole catalogue for every query, without what the user had where excluded."""
    parts = [_answer(scorer, queries, exclude_seen=exclude_seen) for queries in chunks]
    if not parts:
        return Rankings.none()
    firsts = np.cumsum([0, *(len(part.users) for part in parts)])
    return Rankings(
        np.concatenate([part.users for part in parts]),
        np.concatenate([part.num_known for part in parts]),
        np.concatenate([part.ranked for part in parts]),
        np.concatenate([p.target_query + k for p, k in zip(parts, firsts[:-1], strict=True)]),
        np.concatenate([part.target_items for part in parts]),
    )


def _answer(scorer: Scorer, queries: Queries, *, exclude_seen: bool) -> Rankings:
    return Rankings(
        queries.users,
        np.bincount(queries.known_query, minlength=len(queries)),
        _top(scorer.scores(queries), queries, exclude_seen=exclude_seen),
        queries.target_query,
        queries.target_items,
    )


def _top(
    scores: npt.NDArray[np.float32], queries: Queries, *, exclude_seen: bool
) -> npt.NDArray[np.int64]:
    """Return the best rows (n, NUM_RANKED); 0 where the catalogue has no more."""
    scores[:, 0] = -np.inf
    if exclude_seen:
        scores[queries.known_query, queries.known_items] = -np.inf
    width = min(NUM_RANKED, scores.shape[1])
    best = np.argpartition(-scores, width - 1, axis=1)[:, :width]
    values = np.take_along_axis(scores, best, axis=1)
    order = np.lexsort((best, -values), axis=1)
    best, values = np.take_along_axis(best, order, 1), np.take_along_axis(values, order, 1)
    top = np.zeros((len(scores), NUM_RANKED), np.int64)
    top[:, :width] = np.where(np.isneginf(values), 0, best)
    return top
