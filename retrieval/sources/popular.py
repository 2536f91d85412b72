"""Items that many users liked lately, in the request's context where that is known."""

import numpy as np

from retrieval.candidates import Candidates, UserQuery, first_permitted
from retrieval.popularity import PopularLists


class Popular:
    """Reads the ranked lists that were made when the bundle was published."""

    name = "popular"

    def __init__(self, lists: PopularLists) -> None:
        self.lists = lists

    def candidates(self, query: UserQuery, count: int) -> Candidates:
        """Return the context's popular items, topped up with everybody's."""
        code = self.lists.code(query.context_codes)
        own = _permitted(self.lists.ranked(code), query, count)
        if not code or len(own) >= count:
            return own
        every = _permitted(self.lists.ranked(0), query, count)
        return _topped_up(own, every, count)


def _permitted(ranked: Candidates, query: UserQuery, count: int) -> Candidates:
    places = first_permitted(ranked.rows, query.permitted, count)
    return Candidates.of(ranked.rows[places], ranked.scores[places])


def _topped_up(own: Candidates, every: Candidates, count: int) -> Candidates:
    """Append what `own` lacks, with scores scaled below its last one so that they keep falling."""
    places = np.flatnonzero(~np.isin(every.rows, own.rows))[: count - len(own)]
    floor = own.scores[-1] if len(own) else np.float32(1)
    highest = every.scores[0] if len(every) and every.scores[0] > 0 else np.float32(1)
    scores = every.scores[places] * (min(floor, highest) / highest)
    return Candidates.of(
        np.concatenate([own.rows, every.rows[places]]), np.concatenate([own.scores, scores])
    )
