"""The defaults work on logs of other shapes: every one beats popularity, none collapses."""

from typing import Any

import pytest

from tests.quality.logs import Log, trained_figures

pytestmark = pytest.mark.quality

LOGS = {
    "small catalogue": (Log(users=400, items=60, events=12, topics=6), 16),
    "sparse, 40 k items": (Log(users=600, items=40_000, events=16, topics=200), 3),
    "five events a user": (Log(users=1200, items=200, events=5), 16),
    "no attributes": (Log(users=600, items=200, events=20, has_attributes=False), 20),
    "order only": (Log(users=600, items=200, events=20, has_time=False), 8),
}
"""Each with the epochs that its few events need."""


@pytest.fixture(scope="module", params=LOGS.values(), ids=LOGS.keys())
def figures(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    log, epochs = request.param
    training = {"retrieval": {"epochs": epochs, "batch_size": 64}}
    return trained_figures(tmp_path_factory.mktemp("log"), log.adapter(), train=training)


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
