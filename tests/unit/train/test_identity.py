"""What makes a trained model another one."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from features.examples import Examples
from train.config import ModelName, TrainSettings
from train.identity import identity, trained_id

VALUES: dict[str, Any] = {
    "recommender": "toy",
    "dataset": {"format": "synthetic"},
    "tasks": [{"name": "click", "column": "click"}],
}


def id_of(model: ModelName, examples_id: str = "e", *, rows: int = 1_000_000, **train: Any) -> str:
    settings = TrainSettings.model_validate({**VALUES, "train": train})
    examples = SimpleNamespace(
        manifest={"id": examples_id, "dataset": {"split": {"train": rows}}},
        schema=SimpleNamespace(fingerprint="f", history_length=50),
        num_partitions=0,
    )
    return trained_id(identity(settings, model, cast(Examples, examples)))


def test_the_same_settings_are_the_same_model() -> None:
    assert id_of("ranking") == id_of("ranking")


@pytest.mark.parametrize(
    "train",
    [
        {"ranking": {"seed": 1}},
        {"ranking": {"epochs": 3}},
        {"num_workers": 2},
        {"num_workers": 3, "ranking": {"batch_size": 512}},
    ],
)
def test_what_changes_the_weights_changes_the_id(train: dict[str, Any]) -> None:
    assert id_of("ranking") != id_of("ranking", **train)


@pytest.mark.parametrize(
    "train",
    [
        {"retrieval": {"seed": 1}},
        {"ranking": {"checkpoint_minutes": 1.0}},
        {"num_workers": 0},
        {"num_workers": 2, "ranking": {"batch_size": 512}},
        {"max_failures": 9},
        {"models": ["ranking"]},
    ],
)
def test_what_does_not_change_the_weights_keeps_the_id(train: dict[str, Any]) -> None:
    assert id_of("ranking") == id_of("ranking", **train)


def test_what_follows_from_the_data_is_the_same_as_what_is_set() -> None:
    assert id_of("ranking") == id_of("ranking", ranking={"batch_size": 1024})
    small = {"batch_size": 256, "embedding_learning_rate": 0.004}
    assert id_of("ranking", rows=26_000) == id_of("ranking", rows=26_000, ranking=small)
    assert id_of("ranking", rows=26_000) == id_of("ranking", rows=26_000, num_workers=2)


def test_other_data_and_other_models_have_other_ids() -> None:
    ids = {id_of("ranking"), id_of("retrieval"), id_of("ranking", "other")}
    assert len(ids) == 3
