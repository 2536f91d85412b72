"""The ranker's training on a toy: batches, learning, figures, files."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from cluster.storage import Storage
from features.config import DatasetConfig
from features.examples import Examples
from models.config import ModelsConfig, RankerConfig
from tests.toy_ranking import TASKS, toy_examples, toy_schema
from train.checkpoints import Checkpoints
from train.config import RankingTraining, TrainConfig, TrainSettings
from train.impressions import Impressions
from train.loop import fit
from train.plain import PlainRuntime
from train.progress import Listeners
from train.ranking import RankingTrainee
from train.ranking_metrics import auc, xauc
from train.rate_floor import rate_logits
from train.trainees import build_trainee


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"), rows=400)


def trainee_of(
    examples: Examples, *, watch_time: str = "log", **training: object
) -> RankingTrainee:
    ranking = RankingTraining.model_validate({"batch_size": 64, **training})
    ranker = RankerConfig.model_validate({"watch_time": watch_time})
    settings = TrainSettings(
        recommender="toy",
        dataset=DatasetConfig(format="synthetic"),
        tasks=TASKS,
        models=ModelsConfig(ranker=ranker),
        train=TrainConfig(ranking=ranking),
    )
    trainee = build_trainee(settings, "ranking", examples)
    assert isinstance(trainee, RankingTrainee)
    return trainee


def train(trainee: RankingTrainee, epochs: int) -> None:
    optimizer = trainee.optimizer()
    trainee.model.train()
    for epoch in range(epochs):
        for batch in trainee.batches(epoch, 0, 1):
            loss, _ = trainee.model(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def test_workers_share_an_epoch_without_overlap(examples: Examples) -> None:
    trainee = trainee_of(examples)
    assert trainee.num_steps(1) == 12
    assert trainee.num_steps(2) == 6
    alone = [batch["labels"] for batch in trainee.batches(3, 0, 1)]
    ranks = [[batch["labels"] for batch in trainee.batches(3, rank, 2)] for rank in (0, 1)]
    for step in range(6):
        joint = torch.cat([ranks[0][step], ranks[1][step]])
        halves = torch.cat(alone[2 * step : 2 * step + 2])
        torch.testing.assert_close(joint, halves, equal_nan=True)


def test_batches_are_a_function_of_seed_and_epoch(examples: Examples) -> None:
    first, again, later, other = (
        next(trainee_of(examples, seed=seed).batches(epoch, 0, 1))["user_numbers"]
        for seed, epoch in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, other)


def test_a_batch_larger_than_the_data_wraps_around(examples: Examples) -> None:
    trainee = trainee_of(examples, batch_size=5000)
    (batch,) = trainee.batches(0, 0, 1)
    assert len(batch["labels"]) == 5000


def test_validation_figures_are_those_of_the_untrained_floor(examples: Examples) -> None:
    trainee = trainee_of(examples)
    validation = Impressions(examples, "validation")
    floor = rate_logits(validation, examples.schema)
    known = ~np.isnan(validation.labels)
    figures = trainee.validate()
    for k, (name, metric) in enumerate((("auc_click", auc), ("auc_like", auc))):
        expected = metric(floor[known[:, k], k], validation.labels[known[:, k], k])
        assert figures[name] == pytest.approx(expected, abs=1e-4)
    expected = xauc(floor[known[:, 2], 2], validation.labels[known[:, 2], 2])
    assert figures["xauc_watch_time"] == pytest.approx(expected, abs=0.01)  # no time under 0 s
    assert figures["auc"] == pytest.approx((figures["auc_click"] + figures["auc_like"]) / 2)
    assert trainee.monitor in figures


def test_validation_leaves_the_training_mode_alone(examples: Examples) -> None:
    trainee = trainee_of(examples)
    for mode in (True, False):
        trainee.model.train(mode)
        trainee.validate()
        assert trainee.ranker.training is mode


def test_training_learns_what_rates_do_not_say(tmp_path: Path) -> None:
    trainee = trainee_of(toy_examples(tmp_path, rows=1200), learning_rate=3e-3)
    before = trainee.validate()
    train(trainee, epochs=5)
    after = trainee.validate()
    assert after["auc_click"] > before["auc_click"] + 0.1
    assert after["xauc_watch_time"] > before["xauc_watch_time"]


@pytest.mark.parametrize("weighting", ["uncertainty", "gradnorm"])
def test_the_loop_learns_the_tasks_weights_beside_the_network_s(
    examples: Examples, tmp_path: Path, weighting: str
) -> None:
    trainee = trainee_of(examples, epochs=2, learning_rate=3e-3, loss_weighting=weighting)
    before = trainee.validate()
    first = {name: value.clone() for name, value in trainee.model.state_dict().items()}
    checkpoints = Checkpoints.of(Storage(str(tmp_path), "toy"), "runs/ranking", {})
    fit(trainee, trainee.training, PlainRuntime(checkpoints, Listeners(())))
    changed = {
        name for name, value in trainee.model.state_dict().items() if not value.equal(first[name])
    }
    assert {"ranker.item.table.weight", "ranker.heads.weight"} < changed
    assert any(name.startswith("task_weights.") for name in changed)
    assert trainee.validate()["auc_click"] > before["auc_click"]


def test_watch_time_heads_know_the_training_split(examples: Examples) -> None:
    ranker = trainee_of(examples, watch_time="duration_quantiles").ranker
    quantiles = ranker.heads.watch_times["2"].quantiles
    labels = Impressions(examples, "train").labels[:, 2]
    assert float(quantiles.max()) == pytest.approx(np.nanmax(labels))
    assert (quantiles.diff(dim=1) >= 0).all()


def test_the_same_seed_trains_the_same_weights(examples: Examples) -> None:
    weights = []
    for _ in range(2):
        trainee = trainee_of(examples, seed=5)
        torch.manual_seed(0)
        train(trainee, epochs=1)
        weights.append(torch.nn.utils.parameters_to_vector(trainee.model.parameters()))
    assert torch.equal(*weights)


def test_the_report_is_recomputable_from_the_predictions(
    examples: Examples, tmp_path: Path
) -> None:
    report = trainee_of(examples).evaluate(tmp_path / "ranking.parquet")
    rows = pl.read_parquet(tmp_path / "ranking.parquet")
    assert rows.columns[:3] == ["user_id", "item_id", "timestamp"]
    assert rows["item_id"].str.starts_with("item-").all()
    assert (rows["user_id"] % 10 == 0).all()
    for task in ("click", "like"):
        known = rows.filter(pl.col(f"label_{task}").is_not_null())
        labels, predicted = (known[f"{kind}_{task}"].to_numpy() for kind in ("label", "pred"))
        assert report["ranking"][task]["auc"] == pytest.approx(auc(predicted, labels))
        assert report["ranking"][task]["base_rate"] == pytest.approx(labels.mean())
        floor = report["ranking_floor"][task]["auc"]
        assert report["ranking"][task]["auc"] == pytest.approx(floor, abs=1e-4)
    assert set(report["ranking"]["watch_time"]) == {"mae", "xauc"}
    assert set(report["ranking_floor"]["watch_time"]) == {"xauc"}


def test_slices_hold_users_and_items_that_training_did_not_see(
    examples: Examples, tmp_path: Path
) -> None:
    report = trainee_of(examples).evaluate(tmp_path / "ranking.parquet")
    rows = pl.read_parquet(tmp_path / "ranking.parquet")
    new_items = rows["item_id"].is_in(["item-1", "item-2"]).sum()
    new_users = (rows["user_id"] // 10 % 5 == 0).sum()
    assert report["slices"]["new_items"]["impressions"] == new_items > 0
    assert report["slices"]["new_users"]["impressions"] == new_users > 0
    assert set(report["slices"]["new_users"]["ranking"]) == {"click", "like", "watch_time"}


def test_a_report_without_both_classes_is_valid_json(tmp_path: Path) -> None:
    examples = toy_examples(tmp_path / "toy", rows=3, partitions=1)
    report = trainee_of(examples).evaluate(tmp_path / "ranking.parquet")
    json.dumps(report, allow_nan=False)


def test_order_only_data_trains_without_rates(tmp_path: Path) -> None:
    schema = toy_schema(entities=(), has_time=False)
    trainee = trainee_of(toy_examples(tmp_path, schema=schema))
    train(trainee, epochs=1)
    assert 0 < trainee.validate()["auc"] < 1


def test_export_writes_all_programs(examples: Examples, tmp_path: Path) -> None:
    trainee_of(examples).export(tmp_path)
    names = ("ranker_user", "ranker_items", "ranker_batch")
    assert {file.name for file in tmp_path.iterdir()} == {f"{name}.pt2" for name in names}


def test_finishing_calibrates_on_the_validation_split_and_judging_does_not(
    examples: Examples, tmp_path: Path
) -> None:
    trainee = trainee_of(examples)
    with torch.no_grad():
        trainee.ranker.heads.bias += 1.0  # every task is promised too much
    promised = trainee.predict(trainee.validation)
    trainee.evaluate(tmp_path / "ranking.parquet")
    np.testing.assert_array_equal(trainee.predict(trainee.validation), promised)
    trainee.finish()
    labels = trainee.validation.labels
    predicted = trainee.predict(trainee.validation)
    for k in (0, 1):
        known = ~np.isnan(labels[:, k])
        assert predicted[known, k].mean() == pytest.approx(labels[known, k].mean(), abs=0.02)
    first = trainee.ranker.heads.calibration.shift.clone()
    trainee.finish()
    torch.testing.assert_close(trainee.ranker.heads.calibration.shift, first, atol=1e-3, rtol=0)
