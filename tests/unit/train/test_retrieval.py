"""Two-tower training: it learns, its report follows from its predictions, it exports."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from features.examples import Examples
from models.config import ModelsConfig, TwoTowerConfig
from tests.toy_retrieval import HISTORY, ITEMS, NEW_ITEM, Event, toy_examples
from train.config import RetrievalTraining, TrainConfig, TrainSettings
from train.rankings import rankings
from train.retrieval import RetrievalTrainee
from train.retrieval_metrics import NUM_RANKED, exposure, means, retrieval_metrics
from train.retrieval_queries import Queries, Questions
from train.trainees import build_trainee

FIGURES = {"hit_rate@10", "ndcg@10", "recall@20", "ndcg@20", "recall@100"}
EXPOSURE = {"coverage@10", "coverage@100", "gini@10", "gini@100"}


def cycling_users(num_users: int) -> list[list[Event]]:
    """Return users who walk the catalogue in steps of five, from different starts."""
    timelines = []
    for user in range(num_users):
        items = [(user * 3 + 5 * k) % (NEW_ITEM - 1) + 1 for k in range(10)]
        splits = ["train"] * 8 + ["validation", "test"]
        timelines.append([Event(item, 60 * k, splits[k]) for k, item in enumerate(items)])
    return [*timelines, [Event(NEW_ITEM, 600, "test")]]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"), cycling_users(46))


def settings_of(*, exclude_seen: bool = True, **training: object) -> TrainSettings:
    retrieval = RetrievalTraining(batch_size=8, learning_rate=0.01).model_copy(update=training)
    return TrainSettings.model_validate(
        {
            "recommender": "toy",
            "dataset": {"format": "synthetic"},
            "tasks": [{"name": "click", "column": "click"}],
            "retrieval": {"exclude_seen": exclude_seen},
            "models": ModelsConfig(two_tower=TwoTowerConfig(dim=16, heads=2, layers=1, dropout=0)),
            "train": TrainConfig(retrieval=retrieval),
        }
    )


def built(examples: Examples, settings: TrainSettings) -> RetrievalTrainee:
    trainee = build_trainee(settings, "retrieval", examples)
    assert isinstance(trainee, RetrievalTrainee)
    return trainee


def trained(examples: Examples, settings: TrainSettings, epochs: int) -> RetrievalTrainee:
    trainee = built(examples, settings)
    optimizer = trainee.optimizer()
    for epoch in range(epochs):
        trainee.model.train()
        for batch in trainee.batches(epoch, 0, 1):
            loss, _ = trainee.model(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    trainee.model.eval()
    return trainee


@pytest.fixture(scope="module")
def trainee(examples: Examples) -> RetrievalTrainee:
    return trained(examples, settings_of(), 30)


def test_it_learns_the_order_that_popularity_cannot_know(
    trainee: RetrievalTrainee, tmp_path: Path
) -> None:
    report = trainee.evaluate(tmp_path / "retrieval.parquet")
    assert set(report["retrieval"]) == {"two_tower", "popular", "popular_recent", "co_occurrence"}
    assert all(set(figures) == FIGURES | EXPOSURE for figures in report["retrieval"].values())
    two_tower, popular = (report["retrieval"][name]["ndcg@10"] for name in ("two_tower", "popular"))
    assert two_tower > 0.8
    assert two_tower > popular + 0.3


@pytest.mark.parametrize("full_softmax_items", [0, 1000])
def test_sampled_and_full_softmax_learn_alike(examples: Examples, full_softmax_items: int) -> None:
    settings = settings_of(full_softmax_items=full_softmax_items, num_negatives=8)
    assert trained(examples, settings, 20).validate()["ndcg@10"] > 0.7


def test_the_report_follows_from_its_predictions(
    trainee: RetrievalTrainee, examples: Examples, tmp_path: Path
) -> None:
    report = trainee.evaluate(tmp_path / "retrieval.parquet")
    table = pl.read_parquet(tmp_path / "retrieval.parquet")
    assert table.columns == ["user_id", "targets", "ranked"]
    rows = examples.catalogue.rows_by_id
    ranked = np.zeros((table.height, NUM_RANKED), np.int64)
    targets: list[tuple[int, int]] = []
    for k, (user, chosen, best) in enumerate(table.iter_rows()):
        assert user in examples.user_ids
        ranked[k, : len(best)] = [rows[item] for item in best]
        targets += [(k, rows[item]) for item in chosen]
    query, items = np.asarray(targets).T
    figures = means(retrieval_metrics(ranked, query, items.astype(np.int32)))
    figures |= exposure(ranked, examples.catalogue.num_items)
    assert figures == pytest.approx(report["retrieval"]["two_tower"])


def test_slices_tell_of_users_and_items_that_training_had_none_of(
    trainee: RetrievalTrainee, tmp_path: Path
) -> None:
    slices = trainee.evaluate(tmp_path / "retrieval.parquet")["slices"]
    for name in ("new_users", "new_items"):
        assert (slices[name]["users"], slices[name]["targets"]) == (1, 1)
        assert set(slices[name]["retrieval"]["two_tower"]) == FIGURES


def test_slices_tell_of_users_by_the_length_of_their_history(
    trainee: RetrievalTrainee, tmp_path: Path
) -> None:
    slices = trainee.evaluate(tmp_path / "retrieval.parquet")["slices"]
    users = {name: figures["users"] for name, figures in slices.items() if "history" in name}
    assert users == {"history_0": 1, "history_1_3": 0, "history_4_20": 46, "history_over_20": 0}


class Constant:
    """Scores every item by its row, for everybody."""

    def scores(self, queries: Queries) -> np.ndarray:
        """Return the rows."""
        return np.tile(np.arange(ITEMS + 1, dtype=np.float32), (len(queries), 1))


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_a_ranking_leaves_out_what_the_user_had(examples: Examples, exclude_seen: bool) -> None:
    queries = next(Questions(examples, "test", exclude_seen=exclude_seen).chunks(100))
    answer = rankings(Constant(), [queries], exclude_seen=exclude_seen)
    for k in range(len(queries)):
        known = queries.known_items[queries.known_query == k] if exclude_seen else []
        expected = [row for row in range(ITEMS, 0, -1) if row not in known]
        assert answer.ranked[k][answer.ranked[k] > 0].tolist() == expected


def test_figures_do_not_depend_on_the_precision_of_training(trainee: RetrievalTrainee) -> None:
    exact = trainee.validate()
    with torch.autocast("cpu", torch.bfloat16):
        assert trainee.validate() == exact


def test_weights_decay_but_tables_and_biases_do_not(examples: Examples) -> None:
    trainee = built(examples, settings_of(weight_decay=0.5, optimizer="adamw"))
    decaying, others = trainee.optimizer().param_groups
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    count = sum(len(group["params"]) for group in (decaying, others))
    assert count == len(list(trainee.model.parameters()))
    table = trainee.two_tower.items.ids.weight
    assert any(parameter is table for parameter in others["params"])


def test_muon_turns_the_blocks_matrices_alone(examples: Examples) -> None:
    trainee = built(examples, settings_of(optimizer="muon"))
    turned, *others = trainee.optimizer().param_groups
    names = {id(p): name for name, p in trainee.two_tower.named_parameters()}
    assert all(names[id(p)].startswith("history.blocks") for p in turned["params"])
    assert {p.ndim for p in turned["params"]} == {2}
    count = sum(len(group["params"]) for group in (turned, *others))
    assert count == len(list(trainee.model.parameters()))


def test_exported_towers_give_the_vectors_that_were_judged(
    trainee: RetrievalTrainee, examples: Examples, tmp_path: Path
) -> None:
    trainee.export(tmp_path)
    program = torch.export.load(tmp_path / "user_tower.pt2").module()
    for queries in Questions(examples, "test", exclude_seen=True).chunks(7):
        arrays = queries.inputs(examples)
        assert arrays["history_codes"].shape[1] == HISTORY
        vectors = program({name: torch.from_numpy(array) for name, array in arrays.items()})
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(queries)))
