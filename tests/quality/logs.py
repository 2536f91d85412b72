"""Small made-up logs of odd shapes, with tastes to learn, prepared and trained in this process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import fs

from features.timelines import SPLITS
from tests.in_process import TableAdapter, prepare_here
from tests.linear import IDENTITY, Silence
from train.batch_size import sized
from train.checkpoints import Checkpoints
from train.config import ModelName, TrainSettings
from train.loop import fit
from train.plain import PlainRuntime
from train.trainees import build_trainee, training_of

START_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
TASTES_PER_USER = 2
SHARE_OF_TASTE = 0.9
CLICK_CHANCES = (0.8, 0.1)
"""Of items of a user's topics, and of others."""

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Log:
    """A log in which a user draws most items from two of the catalogue's topics.

    Within a topic popularity falls with the root of the rank; nobody meets an item twice.

    Attributes:
        users: their number.
        items: size of the catalogue; a topic's items are spread over it.
        events: per user; of the table all are clicks.
        topics: of the items.
        has_time: timestamps instead of an order.
        has_attributes: whether the items' topics are given to the models.
    """

    users: int
    items: int
    events: int
    topics: int = 10
    has_time: bool = True
    has_attributes: bool = True
    seed: int = 0

    def table(self) -> pa.Table:
        """Return the events."""
        user = np.repeat(np.arange(self.users), self.events)
        order = np.tile(np.arange(self.events), self.users)
        return pa.table(
            {
                "user_id": user,
                "item_id": np.concatenate(self._choices()),
                "timestamp": self._instants(user, order),
                "click": np.ones(len(user), np.bool_),
            }
        )

    def impressions(self) -> pa.Table:
        """Return what users were shown and whether they clicked, the last tenths held out.

        As many as events. Half are of a user's topics, where most are clicked; of others few are.
        """
        rng = np.random.default_rng(self.seed)
        topics = self.topic_of(np.arange(self.items))
        items, clicks = [], []
        for _ in range(self.users):
            is_liked = np.isin(topics, rng.choice(self.topics, TASTES_PER_USER, replace=False))
            shown = self._drawn(rng, np.where(is_liked, 1 / is_liked.sum(), 1 / (~is_liked).sum()))
            items.append(shown)
            clicks.append(rng.random(self.events) < np.where(is_liked[shown], *CLICK_CHANCES))
        user = np.repeat(np.arange(self.users), self.events)
        order = np.tile(np.arange(self.events), self.users)
        held_out = max(self.events // 10, 1)
        sizes = (self.events - 2 * held_out, held_out, held_out)
        return pa.table(
            {
                "user_id": user,
                "item_id": np.concatenate(items),
                "timestamp": self._instants(user, order),
                "click": np.concatenate(clicks),
                "split": np.tile(np.repeat(SPLITS, sizes), self.users),
            }
        )

    def adapter(self, events: pa.Table | None = None) -> TableAdapter:
        """Return the data set; with other events where they are given."""
        ids = np.arange(self.items)
        topics = pa.array([f"topic {topic}" for topic in self.topic_of(ids)])
        return TableAdapter(
            [self.table() if events is None else events],
            pa.table({"item_id": ids, "topic": topics}) if self.has_attributes else None,
            has_time=self.has_time,
        )

    def topic_of(self, items: Index) -> Index:
        """Return the topics of items."""
        return items % self.topics

    def _choices(self) -> list[Index]:
        rng = np.random.default_rng(self.seed)
        ids = np.arange(self.items)
        size = self.items // self.topics
        choices = []
        for _ in range(self.users):
            is_liked = np.isin(self.topic_of(ids), rng.choice(self.topics, TASTES_PER_USER))
            share = np.where(
                is_liked, SHARE_OF_TASTE / TASTES_PER_USER, (1 - SHARE_OF_TASTE) / self.topics
            )
            choices.append(self._drawn(rng, share / size))
        return choices

    def _drawn(self, rng: np.random.Generator, shares: npt.NDArray[np.float64]) -> Index:
        """Draw distinct items by their shares and their popularity, in random order."""
        log_popularity = -0.5 * np.log1p(np.arange(self.items) // self.topics)
        keys = np.log(shares) + log_popularity + rng.gumbel(size=self.items)
        return rng.permutation(np.argpartition(-keys, self.events)[: self.events])

    def _instants(self, user: Index, order: Index) -> pa.Array:
        if not self.has_time:
            return pa.array(order)
        instants = START_MS + order * HOUR_MS + user * 1_000
        return pa.array(instants, pa.timestamp("ms", tz="UTC"))


def trained_figures(root: Path, adapter: TableAdapter, **sections: Any) -> dict[str, Any]:
    """Prepare, and train a small model; return the report's parts.

    Width and depth apart, everything is at its default but for `sections`.
    """
    features = {"split": {"kind": "last_item"}, **sections.pop("features", {})}
    two_tower = {"two_tower": {"dim": 32, "layers": 1, "heads": 2}}
    return _trained(root, "retrieval", adapter, features=features, models=two_tower, **sections)


def ranking_figures(root: Path, adapter: TableAdapter, **sections: Any) -> dict[str, Any]:
    """Prepare impressions, and train the ranker with its defaults; return the report's parts."""
    return _trained(root, "ranking", adapter, features={"split": {"kind": "column"}}, **sections)


def _trained(
    root: Path, model: ModelName, adapter: TableAdapter, **sections: Any
) -> dict[str, Any]:
    examples = prepare_here(root, adapter, sections["features"])
    settings = TrainSettings.model_validate(
        {
            "recommender": "toy",
            "dataset": {"format": "synthetic"},
            "tasks": [{"name": "click", "column": "click"}],
            **sections,
        }
    )
    settings = sized(settings, examples)
    trainee = build_trainee(settings, model, examples)
    checkpoints = Checkpoints(fs.LocalFileSystem(), str(root / "run"), IDENTITY)
    fit(trainee, training_of(settings, model), PlainRuntime(checkpoints, Silence()))
    trainee.finish()
    return trainee.evaluate(root / f"{model}.parquet")
