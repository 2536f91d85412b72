"""The policy that filled the synthetic log: popular, interesting and random items mixed."""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from features.worlds.items import Items
from features.worlds.period import DAY_MS
from features.worlds.requests import MAX_SLATE, Requests
from features.worlds.users import Users

POPULAR, INTEREST, RANDOM = range(3)
# Per surface (feed, search, related): shares of popular, interest and random draws.
MIXTURE = np.asarray([[0.3, 0.58, 0.12], [0.05, 0.85, 0.1], [0.15, 0.75, 0.1]])
POPULAR_LIFETIME_MS = 12 * DAY_MS
TOPIC_LIFETIME_MS = 30 * DAY_MS
TOPIC_FLATTENING = 0.5
SPARE_DRAWS = 4
MORE_DRAWS = 60


class Policy:
    """Draws items and knows the propensity of every draw, exactly and in constant memory.

    All weights decay at one pace, so that the decay is a factor common to all items of an instant
    and cumulative sums in the order of publishing hold for every instant.
    """

    def __init__(self, items: Items) -> None:
        self.items = items
        age = (items.published_ms - items.published_ms[-1]) / POPULAR_LIFETIME_MS
        self._popular = _Cumulative(items.appeal * np.exp(age))
        slow = (items.published_ms - items.published_ms[-1]) / TOPIC_LIFETIME_MS
        self._by_topic = np.argsort(items.topic, kind="stable")
        weights = items.appeal**TOPIC_FLATTENING * np.exp(slow)
        self._topical = _Cumulative(weights[self._by_topic])
        self._topic_begin = np.searchsorted(
            items.topic[self._by_topic], np.arange(items.num_topics)
        )

    @cached_property
    def _topic_times(self) -> npt.NDArray[np.int64]:
        """Topic and publishing date as one sorted key, in the order of `_by_topic`."""
        return self._key(self.items.topic, self.items.published_ms)[self._by_topic]

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        """Each item's place in `_by_topic`."""
        places = np.empty(len(self.items), np.int64)
        places[self._by_topic] = np.arange(len(self.items))
        return places

    def slates(
        self, rng: np.random.Generator, users: Users, requests: Requests
    ) -> npt.NDArray[np.int64]:
        """Draw each request's items in random order: (r, MAX_SLATE), -1 behind the slate.

        Items that a slate holds already are drawn again, up to MORE_DRAWS times.
        """
        slates = _distinct(self._draws(rng, users, requests, MAX_SLATE + SPARE_DRAWS), requests)
        short = np.flatnonzero((slates >= 0).sum(axis=1) < requests.size)
        if len(short):
            rest = requests.take(short)
            more = self._draws(rng, users, rest, MORE_DRAWS)
            slates[short] = _distinct(np.concatenate([slates[short], more], axis=1), rest)
        return slates

    def propensities(
        self,
        users: Users,
        requests: Requests,
        rows: npt.NDArray[np.int64],
        items: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float32]:
        """Return the probability that one draw for request `rows` (n,) gives `items` (n,)."""
        now = requests.start_ms
        published = self._num_published(now)
        mixture = MIXTURE[requests.surface[rows]]
        popular = self._popular.weights[items] / self._popular.total(0, published)[rows]
        return (
            mixture[:, POPULAR] * popular
            + mixture[:, INTEREST] * self._interest_share(users, requests, rows, items)
            + mixture[:, RANDOM] / published[rows]
        ).astype(np.float32)

    def _draws(
        self, rng: np.random.Generator, users: Users, requests: Requests, width: int
    ) -> npt.NDArray[np.int64]:
        shape = (len(requests), width)
        steps = np.cumsum(MIXTURE, axis=1)[requests.surface]
        kind = (rng.random(shape)[:, :, None] > steps[:, None, :2]).sum(axis=2)
        chance = rng.random(shape)
        published = np.broadcast_to(self._num_published(requests.start_ms)[:, None], shape)
        drawn = (chance * published).astype(np.int64)
        row, column = np.nonzero(kind == POPULAR)
        drawn[row, column] = self._popular.draw(chance[row, column], 0, published[row, column])
        row, column = np.nonzero(kind == INTEREST)
        drawn[row, column] = self._interesting(rng, users, requests, row, chance[row, column])
        return drawn

    def _interesting(
        self,
        rng: np.random.Generator,
        users: Users,
        requests: Requests,
        rows: npt.NDArray[np.int64],
        chance: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.int64]:
        """Draw an interest of the request's user, then an item of its topic."""
        user = requests.user[rows]
        steps = np.cumsum(users.long_term_shares(), axis=1)[user, :-1]
        interest = (rng.random(len(rows))[:, None] > steps).sum(axis=1)
        topic = users.topics[user, interest]
        begin, end = self._topic_range(topic, requests.start_ms[rows])
        return self._by_topic[self._topical.draw(chance, begin, end)]

    def _interest_share(
        self,
        users: Users,
        requests: Requests,
        rows: npt.NDArray[np.int64],
        items: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float64]:
        user, topic = requests.user[rows], self.items.topic[items]
        is_topic = users.topics[user] == topic[:, None]
        share = (users.long_term_shares()[user] * is_topic).sum(axis=1)
        begin, end = self._topic_range(topic, requests.start_ms[rows])
        weight = self._topical.weights[self._places[items]]
        return np.asarray(share * weight / self._topical.total(begin, end))

    def _num_published(self, now_ms: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.items.published_ms, now_ms, side="right")

    def _topic_range(
        self, topic: npt.NDArray[np.int64], now_ms: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Return the slice of `_by_topic` with the items of a topic published by then."""
        end = np.searchsorted(self._topic_times, self._key(topic, now_ms), side="right")
        return self._topic_begin[topic], end

    def _key(
        self, topic: npt.NDArray[np.int64], instant_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        return np.asarray(topic * (1 << 44) + instant_ms, np.int64)


def _distinct(drawn: npt.NDArray[np.int64], requests: Requests) -> npt.NDArray[np.int64]:
    """Keep the first different items of each row, as many as its request wants."""
    is_new = drawn >= 0
    for j in range(1, drawn.shape[1]):
        is_new[:, j] &= ~(drawn[:, :j] == drawn[:, j : j + 1]).any(axis=1)
    place = np.cumsum(is_new, axis=1) - 1
    rows, columns = np.nonzero(is_new & (place < requests.size[:, None]))
    slates = np.full((len(requests), MAX_SLATE), -1, np.int64)
    slates[rows, place[rows, columns]] = drawn[rows, columns]
    return slates


class _Cumulative:
    """Weights of which any slice can be drawn from in logarithmic time."""

    def __init__(self, weights: npt.NDArray[np.float64]) -> None:
        self.weights = weights
        self._sums = np.concatenate([[0.0], np.cumsum(weights)])

    def total(
        self, begin: npt.NDArray[np.int64] | int, end: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        return np.asarray(self._sums[end] - self._sums[begin])

    def draw(
        self,
        chance: npt.NDArray[np.float64],
        begin: npt.NDArray[np.int64] | int,
        end: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Return an index in begin:end for each chance in [0, 1)."""
        wanted = self._sums[begin] + chance * self.total(begin, end)
        found = np.searchsorted(self._sums, wanted, side="right") - 1
        return np.clip(found, begin, end - 1)
