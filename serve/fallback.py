"""What is answered when the stages cannot: popular items, from memory."""

import numpy as np

from features.vocabulary import canonical
from models.bundle import Bundle
from retrieval.popularity import OVERALL, PopularLists
from serve.explanation import Explanation, Offer
from serve.filters import Filters, is_permitted
from serve.messages import Request
from serve.presentation import Presenter
from serve.stages import Candidates, Query, Ranked, Slate

SOURCE = "popular"


class Fallback:
    """Answers from one bundle's most popular items, without a model, a store or an index."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.presenter = Presenter(bundle)
        self.filters = Filters(bundle.catalogue)
        popular = PopularLists.open(bundle.folder / "popular").ranked(OVERALL)
        self._rows = np.asarray(popular.rows, np.int64)
        self._scores = np.asarray(popular.scores, np.float32)
        self._row_of = bundle.catalogue.rows_by_id().get

    def slate(self, request: Request, query: Query | None) -> Slate:
        """Return popular items that the request lets through.

        Args:
            request: what was asked.
            query: the hydrated request, where it got that far; knows what the user has seen.

        Raises:
            RequestError: a filter names no attribute.
        """
        excluded = np.asarray([self._row_of(canonical(i), 0) for i in request.exclude], np.int64)
        if query is not None and query.bundle == self.bundle.id:
            excluded = np.concatenate([excluded, query.excluded])
        allowed = self.filters.allowed(request.filters)
        permitted = is_permitted(self._rows, np.unique(excluded), allowed)
        places = np.flatnonzero(permitted)[: request.num_items]
        found = Candidates(
            self.bundle.id,
            self._rows,
            self._scores,
            np.zeros(len(self._rows), np.int64),
            (SOURCE,),
        )
        ranked = Ranked.unranked(found)
        scores = self._scores[places]
        explanations = [
            Explanation((Offer(SOURCE, place + 1, score),))
            for place, score in zip(places.tolist(), scores.tolist(), strict=True)
        ]
        return Slate(
            self.bundle.id,
            self.presenter.items(
                ranked, places, scores, query, explanations if request.explain else ()
            ),
        )
