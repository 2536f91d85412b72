"""A chunk of the synthetic users: attributes, habits, and tastes that drift over the period."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from features.worlds.items import DIM
from features.worlds.period import DAY_MS, DAYS, END_MS, START_MS
from features.worlds.topics import TAGS_PER_TOPIC

NUM_INTERESTS = 4
COUNTRIES = ("IN", "US", "BR", "ID", "DE", "NG", "JP", "MX")
COUNTRY_SHARES = (0.26, 0.19, 0.15, 0.12, 0.09, 0.08, 0.06, 0.05)
UTC_OFFSET_HOURS = np.asarray([5, -6, -3, 7, 1, 1, 9, -6])
AGE_BANDS = ("13-17", "18-24", "25-34", "35-44", "45-54", "55+")
AGE_SHARES = (0.08, 0.27, 0.29, 0.18, 0.11, 0.07)
DEVICES = ("phone", "tablet", "tv", "desktop")
DEVICE_SHARES = (0.68, 0.1, 0.1, 0.12)
ATTRIBUTE_PULL = 0.7
INTEREST_SKEW = 0.8
DRIFT = 1.6
DRIFT_DAYS = (20.0, 70.0)
ACTIVITY_SIGMA = 0.9
MAX_ACTIVITY = 20.0
SHARE_NEW = 0.15
SENIORITY_DAYS = 700
LOYALTY = 0.3


@dataclass(frozen=True)
class Activity:
    """When the users of a chunk joined and how much they watch: (n,) each."""

    signup_ms: npt.NDArray[np.int64]
    volume: npt.NDArray[np.float64]
    """Expected share of the events, up to one factor for all users."""


@dataclass(frozen=True)
class Users:
    """Consecutive users; row r of the chunk is user_id first_id + r.

    Shapes: attributes (n,) index the constants above; `topics`, `strength`, `phase`, `period_ms`
    (n, NUM_INTERESTS); `directions` (n, NUM_INTERESTS, DIM).
    """

    first_id: int
    activity: Activity
    country: npt.NDArray[np.int64]
    age_band: npt.NDArray[np.int64]
    device: npt.NDArray[np.int64]
    patience: npt.NDArray[np.float64]
    """How willing to click at all."""
    stamina: npt.NDArray[np.float64]
    """Liking of long videos over short ones."""
    topics: npt.NDArray[np.int64]
    strength: npt.NDArray[np.float64]
    phase: npt.NDArray[np.float64]
    period_ms: npt.NDArray[np.float64]
    directions: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.country)

    def table(self) -> pa.Table:
        """Return the canonical users table: what models may see."""
        return pa.table(
            {
                "user_id": np.arange(self.first_id, self.first_id + len(self)),
                "country": pa.array(COUNTRIES).take(pa.array(self.country)),
                "age_band": pa.array(AGE_BANDS).take(pa.array(self.age_band)),
                "signup": _quarters(self.activity.signup_ms),
            }
        )

    def long_term_shares(self) -> npt.NDArray[np.float64]:
        """Return what a platform knows of the interests, without their drift: (n, interests)."""
        return _softmax(self.strength)

    def tastes(
        self, rows: npt.NDArray[np.int64], timestamps_ms: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Return the direction that each user likes at an instant: (n, DIM)."""
        angle = timestamps_ms[:, None] / self.period_ms[rows] + self.phase[rows]
        shares = _softmax(self.strength[rows] + DRIFT * np.sin(2 * np.pi * angle))
        tastes = np.einsum("ni,nid->nd", shares, self.directions[rows])
        return np.asarray(tastes, np.float32)


def draw_activity(rng: np.random.Generator, num_users: int) -> Activity:
    """Draw skewed volumes; some users join during the period and are silent before."""
    joined = rng.integers(START_MS, END_MS - DAY_MS // 4, num_users)
    before = START_MS - rng.integers(1, SENIORITY_DAYS * DAY_MS, num_users)
    signup_ms = np.where(rng.random(num_users) < SHARE_NEW, joined, before) // 1000 * 1000
    present = (END_MS - np.maximum(signup_ms, START_MS)) / (END_MS - START_MS)
    volume = np.minimum(rng.lognormal(0.0, ACTIVITY_SIGMA, num_users), MAX_ACTIVITY)
    return Activity(signup_ms, volume * present)


def create_users(
    rng: np.random.Generator,
    first_id: int,
    activity: Activity,
    *,
    topic_pull: npt.NDArray[np.float64],
    tag_vectors: npt.NDArray[np.float64],
) -> Users:
    """Draw users; country and age bend which topics they are into, a little.

    Args:
        rng: the chunk's own generator.
        first_id: user_id of the first.
        activity: how many users, and what they do.
        topic_pull: (countries + age bands, topics) log-odds of interests.
        tag_vectors: (tags, DIM) directions.
    """
    n = len(activity.volume)
    country = rng.choice(len(COUNTRIES), n, p=COUNTRY_SHARES)
    age_band = rng.choice(len(AGE_BANDS), n, p=AGE_SHARES)
    pull = topic_pull[country] + topic_pull[len(COUNTRIES) + age_band]
    topics = _drawn_topics(rng, ATTRIBUTE_PULL * pull)
    num_interests = topics.shape[1]
    return Users(
        first_id=first_id,
        activity=activity,
        country=country,
        age_band=age_band,
        device=rng.choice(len(DEVICES), n, p=DEVICE_SHARES),
        patience=0.5 * rng.standard_normal(n) + LOYALTY * _seniority(activity),
        stamina=0.4 * rng.standard_normal(n),
        topics=topics,
        strength=INTEREST_SKEW * rng.standard_normal((n, num_interests)),
        phase=rng.random((n, num_interests)),
        period_ms=rng.uniform(*DRIFT_DAYS, (n, num_interests)) * DAY_MS,
        directions=_directions(rng, topics, tag_vectors),
    )


def _drawn_topics(
    rng: np.random.Generator, log_odds: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Draw different topics for each user by the Gumbel trick: (n, interests)."""
    noisy = log_odds + rng.gumbel(size=log_odds.shape)
    return np.argsort(-noisy, axis=1, kind="stable")[:, :NUM_INTERESTS]


def _directions(
    rng: np.random.Generator, topics: npt.NDArray[np.int64], tag_vectors: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """An interest leans to one tag of its topic and to one more: (n, interests, DIM)."""
    tags = topics[:, :, None] * TAGS_PER_TOPIC + rng.integers(0, TAGS_PER_TOPIC, (*topics.shape, 2))
    vectors = tag_vectors[tags] * np.asarray([0.7, 0.5])[:, None]
    personal = 0.1 * rng.standard_normal((*topics.shape, DIM))
    return np.asarray(vectors.sum(axis=2) + personal)


def _seniority(activity: Activity) -> npt.NDArray[np.float64]:
    """Return -0.5 for the newest users to 0.5 for the oldest."""
    days = (END_MS - activity.signup_ms) / DAY_MS
    return np.asarray(days / (SENIORITY_DAYS + DAYS) - 0.5)


def _quarters(instants_ms: npt.NDArray[np.int64]) -> pa.Array:
    """Write instants as 2025Q1."""
    dates = pa.array(instants_ms, pa.timestamp("ms"))
    parts = (pc.year(dates), pc.quarter(dates))
    return pc.binary_join_element_wise(*(part.cast(pa.string()) for part in parts), "Q")


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))
