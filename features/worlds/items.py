"""The synthetic catalogue: topics, creators, durations, dates, and the hidden vectors behind."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from features.worlds.period import DAY_MS, END_MS, START_MS
from features.worlds.topics import (
    TAGS_PER_TOPIC,
    TITLES,
    TOPICS,
    creator_names,
    tag_names,
    titles,
    topic_names,
)

DIM = 16
TAGS_PER_ITEM = 3
ITEMS_PER_CREATOR = 12
TOPIC_SKEW = 0.6
APPEAL_SKEW = 0.9
APPEAL_HEAD = 4.0
APPEAL_NOISE = 0.8
SHARE_BEFORE_START = 0.5
BACKLOG_DAYS = 45
CREATOR_QUALITY = 0.5
ITEM_QUALITY = 0.6
TAG_SCALE = 0.75
VECTOR_NOISE = 0.1


@dataclass(frozen=True)
class Items:
    """All items in the order of their publishing; item row r is item_id r + 1.

    Shapes: `tags` (n, TAGS_PER_ITEM), padded with -1 at the end; `vector` (n, DIM) float32, what
    tastes are compared with; `quality` is liked by everyone, `appeal` draws traffic.
    """

    num_topics: int
    topic: npt.NDArray[np.int64]
    tags: npt.NDArray[np.int64]
    creator: npt.NDArray[np.int64]
    duration_s: npt.NDArray[np.float64]
    published_ms: npt.NDArray[np.int64]
    quality: npt.NDArray[np.float64]
    appeal: npt.NDArray[np.float64]
    vector: npt.NDArray[np.float32]
    title: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.topic)

    def table(self) -> pa.Table:
        """Return the canonical items table: what models may see."""
        tags = pa.array(tag_names(self.num_topics))
        is_set = self.tags >= 0
        offsets = np.concatenate([[0], np.cumsum(is_set.sum(axis=1))]).astype(np.int32)
        return pa.table(
            {
                "item_id": np.arange(1, len(self) + 1),
                "title": titles(self.tags[:, 0], self.title),
                "topic": pa.array(topic_names(self.num_topics)).take(pa.array(self.topic)),
                "tags": pa.ListArray.from_arrays(
                    pa.array(offsets), tags.take(pa.array(self.tags[is_set]))
                ),
                "creator": creator_names(self.creator),
                "duration_s": self.duration_s,
                "published_at": pa.array(self.published_ms, pa.timestamp("ms", tz="UTC")),
            }
        )


def tag_vectors(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return a direction per tag, those of a topic close to each other: (tags, DIM)."""
    centres = _unit(rng.standard_normal((len(TOPICS), DIM)))
    offsets = _unit(rng.standard_normal((len(TOPICS) * TAGS_PER_TOPIC, DIM)))
    return _unit(np.repeat(centres, TAGS_PER_TOPIC, axis=0) + TAG_SCALE * offsets)


def create_items(
    rng: np.random.Generator, num_items: int, directions: npt.NDArray[np.float64]
) -> Items:
    """Draw a catalogue of `num_items` with these tags' directions (tags, DIM)."""
    num_topics = min(len(TOPICS), num_items)
    num_creators = max(num_topics, num_items // ITEMS_PER_CREATOR)
    creator = _creators(rng, num_items, num_creators)
    published_ms, order = _published(rng, num_items, num_topics)
    topic = _topics(rng, creator, num_topics)[order]
    creator = creator[order]
    tags = _tags(rng, topic)
    noise = VECTOR_NOISE * rng.standard_normal((num_items, DIM))
    creator_quality = CREATOR_QUALITY * rng.standard_normal(num_creators)
    quality = creator_quality[creator] + ITEM_QUALITY * rng.standard_normal(num_items)
    pace = rng.uniform(np.log(20), np.log(240), num_topics)
    return Items(
        num_topics=num_topics,
        topic=topic,
        tags=tags,
        creator=creator,
        duration_s=np.round(np.exp(pace[topic] + 0.5 * rng.standard_normal(num_items)) + 5, 1),
        published_ms=published_ms,
        quality=quality,
        appeal=_appeal(rng, quality),
        vector=(_mean_direction(directions, tags) + noise).astype(np.float32),
        title=rng.integers(0, len(TITLES), num_items),
    )


def _creators(rng: np.random.Generator, num_items: int, num_creators: int) -> npt.NDArray[np.int64]:
    """Some creators publish much more than others; the first items cover all topics."""
    weight = rng.lognormal(0.0, 0.7, num_creators)
    creator = rng.choice(num_creators, num_items, p=weight / weight.sum())
    covered = min(len(TOPICS), num_items)
    creator[:covered] = np.arange(covered)
    return np.asarray(creator, np.int64)


def _topics(
    rng: np.random.Generator, creator: npt.NDArray[np.int64], num_topics: int
) -> npt.NDArray[np.int64]:
    """A creator keeps to one topic, four times out of five."""
    weight = np.arange(1, num_topics + 1) ** -TOPIC_SKEW
    favourite = rng.choice(num_topics, int(creator.max()) + 1, p=weight / weight.sum())
    favourite[:num_topics] = np.arange(num_topics)
    other = rng.choice(num_topics, len(creator), p=weight / weight.sum())
    is_other = rng.random(len(creator)) < 0.2
    is_other[:num_topics] = False
    return np.where(is_other, other, favourite[creator])


def _published(
    rng: np.random.Generator, num_items: int, num_topics: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw publishing dates; one item of every topic exists before the period begins.

    Returns:
        The dates in order, and the drawn item at each of them.
    """
    backlog = START_MS - rng.integers(1, BACKLOG_DAYS * DAY_MS, num_items)
    during = rng.integers(START_MS, END_MS, num_items)
    is_backlog = rng.random(num_items) < SHARE_BEFORE_START
    is_backlog[:num_topics] = True
    dates = np.where(is_backlog, backlog, during) // 1000 * 1000
    order = np.argsort(dates, kind="stable")
    return dates[order], order


def _tags(rng: np.random.Generator, topic: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Give each item one to three different tags of its topic."""
    ranked = np.argsort(rng.random((len(topic), TAGS_PER_TOPIC)), axis=1)[:, :TAGS_PER_ITEM]
    count = rng.integers(1, TAGS_PER_ITEM + 1, len(topic))
    tags = topic[:, None] * TAGS_PER_TOPIC + ranked
    return np.where(np.arange(TAGS_PER_ITEM) < count[:, None], tags, -1)


def _appeal(rng: np.random.Generator, quality: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Zipf-like weights: good items tend to draw more traffic, not always."""
    score = quality + APPEAL_NOISE * rng.standard_normal(len(quality))
    rank = np.empty(len(quality))
    rank[np.argsort(-score, kind="stable")] = np.arange(len(quality))
    return np.asarray((rank + APPEAL_HEAD) ** -APPEAL_SKEW)


def _mean_direction(
    directions: npt.NDArray[np.float64], tags: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    is_set = (tags >= 0)[:, :, None]
    total = (directions[np.maximum(tags, 0)] * is_set).sum(axis=1)
    return np.asarray(total / is_set.sum(axis=1))


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
