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


def id_of(model: ModelName, examples_id: str = "e", **train: Any) -> str:
    settings = TrainSettings.model_validate({**VALUES, "train": train})
    examples = SimpleNamespace(
        manifest={"id": examples_id}, schema=SimpleNamespace(fingerprint="f")
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


def test_other_data_and_other_models_have_other_ids() -> None:
    ids = {id_of("ranking"), id_of("retrieval"), id_of("ranking", "other")}
    assert len(ids) == 3
