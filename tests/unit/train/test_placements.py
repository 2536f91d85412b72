"""Placements in the config: what does not fit is one clear line."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cluster.config import load
from cluster.errors import ConfigError
from models.tables.placement import DEFAULT
from tests.toy_ranking import toy_schema
from train.config import RankingTraining, RetrievalTraining, TrainConfig, TrainSettings
from train.placements import check_placements, table_names

TINY = Path(__file__).resolve().parents[2] / "tiny.toml"


def settings(*overrides: str) -> TrainSettings:
    return load(TrainSettings, TINY, overrides)


def test_a_name_alone_is_the_default_of_all_tables() -> None:
    assert TrainConfig().embedding_placement == {DEFAULT: "replicated"}
    config = settings("train.num_workers=2", "train.embedding_placement=row_sharded").train
    assert config.embedding_placement == {DEFAULT: "row_sharded"}


def test_tables_may_differ_and_their_paths_may_be_dotted_keys() -> None:
    config = settings(
        "train.num_workers=2", "train.embedding_placement.items.ids=row_sharded"
    ).train
    assert config.embedding_placement == {DEFAULT: "replicated", "items.ids": "row_sharded"}


@pytest.mark.parametrize(
    ("num_workers", "placement"), [(0, "row_sharded"), (1, "row_sharded"), (2, "local")]
)
def test_a_placement_without_enough_workers_or_with_too_many_is_refused(
    num_workers: int, placement: str
) -> None:
    for value in (placement, {"items.ids": placement}):
        named = f"embedding_placement '{placement}'.*num_workers = {num_workers}"
        with pytest.raises(ValidationError, match=named):
            TrainConfig.model_validate({"num_workers": num_workers, "embedding_placement": value})


def test_a_placement_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match="train.embedding_placement.default.*got 'everywhere'"):
        settings("train.embedding_placement=everywhere")


@pytest.mark.parametrize("key", ["items.ids", "ids", "user", "items.attributes", "item"])
def test_a_table_is_named_by_the_end_of_its_path(key: str) -> None:
    overrides = ("train.num_workers=2", f"train.embedding_placement.{key}=row_sharded")
    check_placements(settings(*overrides), toy_schema())


def test_an_unknown_table_is_named_with_a_close_one() -> None:
    chosen = settings("train.num_workers=2", "train.embedding_placement.items.idz=row_sharded")
    with pytest.raises(ConfigError, match=r"items\.idz: unknown table; did you mean 'items\.ids'"):
        check_placements(chosen, toy_schema())


def test_tables_of_both_models_have_names() -> None:
    names = table_names(settings(), toy_schema())
    assert {"items.ids", "items.attributes", "user", "context", "item", "steps"} <= set(names)


def test_tables_learn_at_their_own_rate_or_at_the_models() -> None:
    own: dict[str, Any] = {"embedding_optimizer": "rowwise_adagrad", "embedding_learning_rate": 0.1}
    assert RetrievalTraining(**own).embeddings.learning_rate == 0.1
    assert RetrievalTraining(learning_rate=0.02).embeddings.learning_rate == 0.02
    assert RankingTraining().embeddings.weight_decay == 0.1
