"""The synthetic world: a made-up video service whose users' true preferences are known."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.worlds.feedback import Feedback, Scene, draw_feedback, utility
from features.worlds.items import Items, create_items, tag_vectors
from features.worlds.period import END_MS
from features.worlds.policy import Policy
from features.worlds.requests import MEAN_SLATE, SURFACES, Requests, draw_requests
from features.worlds.topics import TOPICS
from features.worlds.users import (
    AGE_BANDS,
    COUNTRIES,
    DEVICES,
    Activity,
    Users,
    create_users,
    draw_activity,
)

CATALOGUE, DIRECTIONS, PULL, ACTIVITY, TRAITS, BEHAVIOUR = range(6)
CHUNK_EVENTS = 100_000
MAX_CHUNK_USERS = 1024
PAUSE_S = 2.0
EVENTS = pa.schema(
    [
        ("user_id", pa.int64()),
        ("item_id", pa.int64()),
        ("timestamp", pa.timestamp("ms", tz="UTC")),
        ("click", pa.bool_()),
        ("like", pa.bool_()),
        ("watch_time_s", pa.float64()),
        ("surface", pa.string()),
        ("device", pa.string()),
        ("request_id", pa.int64()),
        ("position", pa.int64()),
        ("propensity", pa.float32()),
    ]
)


@dataclass(frozen=True)
class World:
    """A month of a video service, the same for the same sizes and seed.

    Users come in chunks of a fixed size with a random generator each, so that any part of the log
    can be made anywhere, in memory for one chunk.

    Args:
        num_users: user_id is 1 to num_users.
        num_items: item_id is 1 to num_items, in the order of publishing.
        num_events: impressions, met within 2 % from some 10,000 and a hundred items on.
        seed: another seed, another world.
    """

    num_users: int
    num_items: int
    num_events: int
    seed: int = 0

    @property
    def chunk_users(self) -> int:
        """Users of a chunk."""
        fitting = CHUNK_EVENTS * self.num_users // self.num_events
        return max(1, min(fitting, MAX_CHUNK_USERS))

    @property
    def num_chunks(self) -> int:
        """Chunks of all users."""
        return -(-self.num_users // self.chunk_users)

    @cached_property
    def items(self) -> Items:
        """The catalogue with its hidden side."""
        return create_items(self._rng(CATALOGUE), self.num_items, self._directions)

    @cached_property
    def policy(self) -> Policy:
        """The policy that filled the log."""
        return Policy(self.items)

    def users(self, chunk: int) -> Users:
        """Return a chunk's users with their hidden side."""
        return create_users(
            self._rng(TRAITS, chunk),
            chunk * self.chunk_users + 1,
            self._activity(chunk),
            topic_pull=self._topic_pull,
            tag_vectors=self._directions,
        )

    def events(self, chunk: int) -> pa.Table:
        """Return a chunk's log, by user and time."""
        rng = self._rng(BEHAVIOUR, chunk)
        users = self.users(chunk)
        expected = users.activity.volume * self._requests_per_volume
        requests = draw_requests(rng, users, expected)
        slates = self.policy.slates(rng, users, requests)
        rows, places = np.nonzero(slates >= 0)
        scene = _scene(requests, rows, places, slates)
        preference = utility(users, self.items, scene.user, scene.item, scene.timestamp_ms)
        feedback = draw_feedback(rng, self.items, scene, preference)
        timestamps = _timestamps(requests, rows, feedback)
        propensity = self.policy.propensities(users, requests, rows, scene.item)
        columns = {
            "user_id": users.first_id + scene.user,
            "item_id": scene.item + 1,
            "timestamp": timestamps,
            "click": feedback.click,
            "like": feedback.like,
            "watch_time_s": feedback.watch_time_s,
            "surface": pa.array(SURFACES).take(pa.array(scene.surface)),
            "device": pa.array(DEVICES).take(pa.array(scene.device)),
            "request_id": (chunk << 32) + rows,
            "position": scene.position,
            "propensity": propensity,
        }
        return pa.table(columns, schema=EVENTS).filter(pa.array(timestamps < END_MS))

    def preference(
        self,
        user_ids: npt.NDArray[np.int64],
        item_ids: npt.NDArray[np.int64],
        timestamps_ms: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.float64]:
        """Return the probability that the user clicks the item when it is seen in the feed: (n,).

        For evaluation only: it is in no table, and nothing that a model reads may come from it.
        What users do in a session follows from their preference at its start.

        Raises:
            ValueError: an id that the world does not have.
        """
        _check_ids("user_id", user_ids, self.num_users)
        _check_ids("item_id", item_ids, self.num_items)
        preference = np.empty(len(user_ids))
        chunk_of = (np.asarray(user_ids) - 1) // self.chunk_users
        for chunk in np.unique(chunk_of):
            index = np.flatnonzero(chunk_of == chunk)
            users = self.users(int(chunk))
            rows = np.asarray(user_ids)[index] - users.first_id
            items = np.asarray(item_ids)[index] - 1
            instants = np.asarray(timestamps_ms)[index]
            preference[index] = utility(users, self.items, rows, items, instants)
        return np.asarray(1.0 / (1.0 + np.exp(-preference)))

    @cached_property
    def _directions(self) -> npt.NDArray[np.float64]:
        return tag_vectors(self._rng(DIRECTIONS))

    @cached_property
    def _topic_pull(self) -> npt.NDArray[np.float64]:
        shape = (len(COUNTRIES) + len(AGE_BANDS), min(len(TOPICS), self.num_items))
        return self._rng(PULL).standard_normal(shape)

    @cached_property
    def _requests_per_volume(self) -> float:
        volume = sum(float(self._activity(chunk).volume.sum()) for chunk in range(self.num_chunks))
        return self.num_events / MEAN_SLATE / volume

    def _activity(self, chunk: int) -> Activity:
        first = chunk * self.chunk_users
        count = min(self.chunk_users, self.num_users - first)
        return draw_activity(self._rng(ACTIVITY, chunk), count)

    def _rng(self, purpose: int, chunk: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, purpose, chunk])


def _scene(
    requests: Requests,
    rows: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    slates: npt.NDArray[np.int64],
) -> Scene:
    return Scene(
        user=requests.user[rows],
        item=slates[rows, places],
        timestamp_ms=requests.start_ms[rows],
        surface=requests.surface[rows],
        device=requests.device[rows],
        position=places + 1,
    )


def _timestamps(
    requests: Requests, rows: npt.NDArray[np.int64], feedback: Feedback
) -> npt.NDArray[np.int64]:
    """An impression begins when everything before it in its session was watched: (n,) ms."""
    spent_ms = np.round((feedback.watch_time_s + PAUSE_S) * 1000).astype(np.int64)
    before = np.cumsum(spent_ms) - spent_ms
    session = requests.session[rows]
    is_first = np.diff(session, prepend=-1) > 0
    at_opening = before[is_first][np.cumsum(is_first) - 1]
    return np.asarray(requests.start_ms[rows] + before - at_opening)


def _check_ids(name: str, ids: npt.NDArray[np.int64], count: int) -> None:
    if len(ids) and not (np.min(ids) >= 1 and np.max(ids) <= count):
        raise ValueError(f"{name}: {np.min(ids)} to {np.max(ids)}, the world has 1 to {count}")
