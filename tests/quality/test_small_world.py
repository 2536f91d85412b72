"""Floors on a small synthetic world, and figures that anyone can recompute."""

import numpy as np
import pytest

from tests.quality.runs import TrainedRun, hit_rate, rank_sum_auc, recall, trained_run

pytestmark = pytest.mark.quality

TASKS = ("click", "like")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """1,500 users and 600 videos, trained in a plain process."""
    return trained_run(
        "configs/synthetic.toml",
        tmp_path_factory.mktemp("small"),
        "dataset.users=1500",
        "dataset.items=600",
        "dataset.events=120000",
        "train.num_workers=0",
        "train.retrieval.epochs=6",
        "train.ranking.epochs=3",
    )


@pytest.mark.parametrize("task", TASKS)
def test_the_ranker_beats_the_sum_of_the_rates(run: TrainedRun, task: str) -> None:
    assert run.report["ranking"][task]["auc"] > run.report["ranking_floor"][task]["auc"]


def test_the_two_towers_beat_popularity(run: TrainedRun) -> None:
    figures = run.report["retrieval"]
    assert figures["two_tower"]["recall@100"] > figures["popular"]["recall@100"]


@pytest.mark.parametrize("task", TASKS)
def test_ranking_figures_follow_from_the_predictions(run: TrainedRun, task: str) -> None:
    table, figures = run.ranking(), run.report["ranking"][task]
    scores = table[f"pred_{task}"].to_numpy().astype(np.float64)
    labels = table[f"label_{task}"].to_numpy() > 0
    assert ((scores >= 0) & (scores <= 1)).all()
    assert figures["base_rate"] == pytest.approx(labels.mean(), abs=1e-6)
    assert figures["auc"] == pytest.approx(rank_sum_auc(scores, labels), abs=1e-6)
    log_loss = -np.where(labels, np.log(scores), np.log1p(-scores)).mean()
    assert figures["log_loss"] == pytest.approx(log_loss, abs=1e-5)


def test_watch_time_figures_follow_from_the_predictions(run: TrainedRun) -> None:
    table = run.ranking()
    error = (table["pred_watch_time"] - table["label_watch_time"]).abs().mean()
    assert run.report["ranking"]["watch_time"]["mae"] == pytest.approx(error, rel=1e-5)


def test_retrieval_figures_follow_from_the_predictions(run: TrainedRun) -> None:
    table, figures = run.retrieval(), run.report["retrieval"]["two_tower"]
    assert figures["hit_rate@10"] == pytest.approx(hit_rate(table, 10), abs=1e-9)
    assert figures["recall@20"] == pytest.approx(recall(table, 20), abs=1e-9)
    assert figures["recall@100"] == pytest.approx(recall(table, 100), abs=1e-9)


def test_predictions_are_of_the_test_split_alone(run: TrainedRun) -> None:
    split = run.report["dataset"]["split"]
    table = run.ranking()
    assert table.height == split["test"]
    assert table["timestamp"].dt.epoch("ms").min() >= split["test_from_ms"]
