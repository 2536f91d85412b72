"""Items that were published lately, or have been shown least where nothing says when."""

import numpy as np
import numpy.typing as npt

from features.catalogue import Catalogue
from features.encoding import DAY_MS
from retrieval.candidates import Candidates, UserQuery, first_permitted


class Fresh:
    """Keeps the catalogue's rows from the newest to the oldest.

    Args:
        catalogue: with `published_ms`, -1 where unknown.
        max_age_ms: items published longer ago are not fresh.
    """

    name = "fresh"

    def __init__(self, catalogue: Catalogue, max_age_ms: int) -> None:
        published = np.asarray(catalogue.published_ms)
        dated = np.flatnonzero(published >= 0)
        self.max_age_ms = max_age_ms
        self.rows = dated[np.argsort(-published[dated], kind="stable")]
        self.published_ms = published[self.rows]
        self.is_dated = bool(len(dated))
        if not self.is_dated:
            self.rows = np.argsort(catalogue.train_events[1:], kind="stable") + 1
            self.shown = np.asarray(catalogue.train_events)[self.rows]

    def candidates(self, query: UserQuery, count: int) -> Candidates:
        """Return the newest permitted items; none that is published after the request."""
        first, last = self._window(query.now_ms)
        places = first + first_permitted(self.rows[first:last], query.permitted, count)
        return Candidates.of(self.rows[places], self._scores(places, query.now_ms))

    def _window(self, now_ms: int) -> tuple[int, int]:
        if not self.is_dated:
            return 0, len(self.rows)
        newest, oldest = now_ms, now_ms - self.max_age_ms
        first = int(np.searchsorted(-self.published_ms, -newest, side="left"))
        return first, int(np.searchsorted(-self.published_ms, -oldest, side="right"))

    def _scores(self, places: npt.NDArray[np.int64], now_ms: int) -> npt.NDArray[np.float64]:
        """Return 1 for brand-new, 1/2 after a day or an impression, and so on."""
        if not self.is_dated:
            return np.asarray(1.0 / (1.0 + self.shown[places]))
        return np.asarray(1.0 / (1.0 + (now_ms - self.published_ms[places]) / DAY_MS))
