"""The defaults work on logs of other shapes: every one beats its floors, none collapses."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.quality.logs import Log, ranking_figures, trained_figures
from train.ranking_metrics import auc

pytestmark = pytest.mark.quality

LEARNED = 0.5
"""Of what a user's own rates by topic know, the share that the ranker has to find by itself."""

LOGS = {
    "small catalogue": Log(users=400, items=60, events=12, topics=6),
    "sparse, 40 k items": Log(users=600, items=40_000, events=16, topics=200),
    "five events a user": Log(users=1200, items=200, events=5),
    "no attributes": Log(users=600, items=200, events=20, has_attributes=False),
    "order only": Log(users=600, items=200, events=20, has_time=False),
}


@pytest.fixture(scope="module", params=LOGS.values(), ids=LOGS.keys())
def figures(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    log: Log = request.param
    return trained_figures(tmp_path_factory.mktemp("log"), log.adapter())


def test_the_two_towers_beat_popularity(figures: dict[str, Any]) -> None:
    two_tower, popular = (figures["retrieval"][name] for name in ("two_tower", "popular"))
    assert two_tower["ndcg@10"] > 1.25 * popular["ndcg@10"]
    assert two_tower["recall@20"] > 1.15 * popular["recall@20"]


def test_the_two_towers_show_more_of_the_catalogue_than_popularity(
    figures: dict[str, Any],
) -> None:
    two_tower, popular = (figures["retrieval"][name] for name in ("two_tower", "popular"))
    assert two_tower["coverage@10"] > 2 * popular["coverage@10"]
    assert two_tower["gini@10"] < popular["gini@10"]


IMPRESSIONS = {
    "no attributes": (Log(users=400, items=100, events=40, has_attributes=False), 14),
    "small catalogue, order only": (
        Log(users=400, items=60, events=30, topics=6, has_time=False),
        4,
    ),
    "sparse, 40 k items": (Log(users=600, items=40_000, events=30, topics=200), 4),
    "five events a user": (Log(users=1200, items=200, events=5), 4),
}
"""Each with epochs that suffice; nothing but the user's taste tells what is clicked."""


@pytest.mark.parametrize(("log", "epochs"), IMPRESSIONS.values(), ids=IMPRESSIONS.keys())
def test_the_ranker_learns_tastes_that_rates_do_not_hold(
    log: Log, epochs: int, tmp_path: Path
) -> None:
    events = log.impressions()
    report = ranking_figures(tmp_path, log.adapter(events), train={"ranking": {"epochs": epochs}})
    ranker, floor = (report[name]["click"]["auc"] for name in ("ranking", "ranking_floor"))
    assert ranker > floor
    assert ranker - 0.5 > LEARNED * (topic_rate_auc(log, events) - 0.5)


def topic_rate_auc(log: Log, events: pa.Table) -> float:
    """Judge what knows the topics: the share that a user clicked of the item's in training."""
    user, item = (events[name].to_numpy() for name in ("user_id", "item_id"))
    click, split = events["click"].to_numpy(), events["split"].to_numpy()
    topic, trains = log.topic_of(item), split == "train"
    counts = np.zeros((2, log.users, log.topics))
    np.add.at(counts, (click[trains].astype(int), user[trains], topic[trains]), 1)
    rates = (counts[1] + click.mean()) / (counts.sum(0) + 1)
    judged = split == "test"
    scores = rates[user[judged], topic[judged]].astype(np.float32)
    return auc(scores, click[judged].astype(np.float32))
