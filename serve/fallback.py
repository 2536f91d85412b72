"""What is answered when the stages cannot: pre-computed items, then popular ones from memory."""

import numpy as np
import numpy.typing as npt

from features.vocabulary import canonical
from models.bundle import Bundle
from retrieval.popularity import OVERALL, PopularLists
from serve.explanation import Explanation, Offer
from serve.filters import Filters, is_permitted
from serve.messages import Request
from serve.precomputed import Precomputed
from serve.presentation import Presenter
from serve.stages import Candidates, Query, Ranked, Slate

SOURCES = ("precomputed", "popular")
Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class Fallback:
    """Answers from one bundle's most popular items, without a model, a store or an index.

    Where there are pre-computed items for the user, they come first.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.presenter = Presenter(bundle)
        self.filters = Filters(bundle.catalogue)
        popular = PopularLists.open(bundle.folder / "popular").ranked(OVERALL)
        self._rows = np.asarray(popular.rows, np.int64)
        self._scores = np.asarray(popular.scores, np.float32)
        self._row_of = bundle.catalogue.rows_by_id().get

    def slate(self, request: Request, query: Query | None, own: Precomputed | None = None) -> Slate:
        """Return items that the request lets through, from memory.

        Args:
            request: what was asked.
            query: the hydrated request, where it got that far; knows what the user has seen.
            own: what was pre-computed for the user.

        Raises:
            RequestError: a filter names no attribute.
        """
        excluded = np.asarray([self._row_of(canonical(i), 0) for i in request.exclude], np.int64)
        if query is not None and query.bundle == self.bundle.id:
            excluded = np.concatenate([excluded, query.excluded])
        allowed = self.filters.allowed(request.filters)
        found, ranks = self._found(own)
        permitted = is_permitted(found.rows, np.unique(excluded), allowed)
        places = np.flatnonzero(permitted)[: request.num_items]
        ranked = Ranked.unranked(found)
        scores = found.scores[places]
        offered = (found.sources[places].tolist(), ranks[places].tolist(), scores.tolist())
        explanations = [
            Explanation((Offer(SOURCES[source], rank, score),))
            for source, rank, score in zip(*offered, strict=True)
        ]
        return Slate(
            self.bundle.id,
            self.presenter.items(
                ranked, places, scores, query, explanations if request.explain else ()
            ),
        )

    def _found(self, own: Precomputed | None) -> tuple[Candidates, Rows]:
        """Return what there is, best first, and each item's rank at its source."""
        rows, scores = self._own(own)
        others = ~np.isin(self._rows, rows)
        found = Candidates(
            self.bundle.id,
            np.concatenate([rows, self._rows[others]]),
            np.concatenate([scores, self._scores[others]]),
            np.repeat([0, 1], [len(rows), int(others.sum())]),
            SOURCES,
        )
        own_ranks = np.arange(1, len(rows) + 1)
        return found, np.concatenate([own_ranks, 1 + np.flatnonzero(others)])

    def _own(self, own: Precomputed | None) -> tuple[Rows, Scores]:
        """Return the pre-computed items that this bundle knows."""
        if own is None:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        rows = np.asarray([self._row_of(item_id, 0) for item_id in own.item_ids], np.int64)
        return rows[rows > 0], np.asarray(own.scores, np.float32)[rows > 0]
