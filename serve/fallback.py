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
NOTHING = np.zeros(0, np.int64)
Rows = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float32]


class Fallback:
    """Answers from one bundle's most popular items, without a model, a store or an index.

    Where there are pre-computed items for the user, they come first. The items are ranked when
    the bundle is made; a request looks at as many as it may need and not at the catalogue.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.presenter = Presenter(bundle)
        self.filters = Filters(bundle.catalogue)
        popular = PopularLists.open(bundle.folder / "popular").ranked(OVERALL)
        self._rows = np.asarray(popular.rows, np.int64)
        self._scores = np.asarray(popular.scores, np.float32)
        self._place = np.zeros(len(self._rows) + 1, np.int64)  # by item row
        self._place[self._rows] = np.arange(len(self._rows))
        self._row_of = bundle.catalogue.rows_by_id.get

    def slate(
        self,
        request: Request,
        query: Query | None,
        own: Precomputed | None = None,
        *,
        withdrawn: Rows = NOTHING,
    ) -> Slate:
        """Return items that the request lets through, from memory.

        Args:
            request: what was asked.
            query: the hydrated request, where it got that far; knows what the user has seen.
            own: what was pre-computed for the user.
            withdrawn: rows of items that nobody shall see.

        Raises:
            RequestError: a filter names no attribute.
        """
        found, ranks = self._found(request, self._excluded(request, query, withdrawn), own)
        places = np.arange(len(found.rows))
        explanations = _explanations(found, ranks) if request.explain else ()
        items = self.presenter.items(
            Ranked.unranked(found), places, found.scores, query, explanations
        )
        return Slate(self.bundle.id, items)

    def _excluded(self, request: Request, query: Query | None, withdrawn: Rows) -> Rows:
        """Return sorted rows that must not be shown."""
        asked = np.asarray([self._row_of(canonical(i), 0) for i in request.exclude], np.int64)
        seen = NOTHING
        if query is not None and query.bundle == self.bundle.id:
            seen = query.excluded
        return np.unique(np.concatenate([asked, withdrawn, seen]))

    def _found(
        self, request: Request, excluded: Rows, own: Precomputed | None
    ) -> tuple[Candidates, Rows]:
        """Return the items to show, in order, and each one's rank at its source."""
        allowed = self.filters.allowed(request.filters)
        rows, scores = self._own(own)
        ranks = 1 + np.flatnonzero(is_permitted(rows, excluded, allowed))[: request.num_items]
        rows, scores = rows[ranks - 1], scores[ranks - 1]
        excluded = np.union1d(excluded, rows)
        places = self._popular(request.num_items - len(rows), excluded, allowed)
        found = Candidates(
            self.bundle.id,
            np.concatenate([rows, self._rows[places]]),
            np.concatenate([scores, self._scores[places]]),
            np.repeat([0, 1], [len(rows), len(places)]),
            SOURCES,
        )
        return found, np.concatenate([ranks, 1 + places])

    def _popular(self, num_items: int, excluded: Rows, allowed: Rows | None) -> Rows:
        """Return the first places of the popular list that may be shown, rising.

        What is excluded takes at most as many places as it has items.
        """
        num_needed = num_items + len(excluded)
        if allowed is None:
            places = np.arange(min(num_needed, len(self._rows)))
        else:
            places = self._place[allowed]
            if num_needed < len(places):
                places = np.partition(places, num_needed)[:num_needed]
            places.sort()
        return places[is_permitted(self._rows[places], excluded, None)][:num_items]

    def _own(self, own: Precomputed | None) -> tuple[Rows, Scores]:
        """Return the pre-computed items that this bundle knows."""
        if own is None:
            return NOTHING, np.zeros(0, np.float32)
        rows = np.asarray([self._row_of(item_id, 0) for item_id in own.item_ids], np.int64)
        return rows[rows > 0], np.asarray(own.scores, np.float32)[rows > 0]


def _explanations(found: Candidates, ranks: Rows) -> list[Explanation]:
    offered = (found.sources.tolist(), ranks.tolist(), found.scores.tolist())
    return [
        Explanation((Offer(SOURCES[source], rank, score),))
        for source, rank, score in zip(*offered, strict=True)
    ]
