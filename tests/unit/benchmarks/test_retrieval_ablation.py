"""The retrieval ablation's variants are valid settings, each different in what its name says."""

import pytest

from benchmarks.retrieval_ablation import VARIANTS, base_of, varied
from cluster.config import load
from tests.conftest import TINY
from train.config import TrainSettings


@pytest.fixture
def settings() -> TrainSettings:
    return load(TrainSettings, TINY)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_changes_what_it_lists_and_the_seed_alone(
    settings: TrainSettings, name: str
) -> None:
    variant = varied(settings, name, 3)
    listed = VARIANTS[name]
    two_tower = variant.models.two_tower.model_dump()
    training = variant.train.retrieval.model_dump()
    expected = settings.models.two_tower.model_dump() | listed.get("two_tower", {})
    assert two_tower == expected
    expected = settings.train.retrieval.model_dump() | listed.get("training", {}) | {"seed": 3}
    assert training == expected
    assert variant.models.ranker == settings.models.ranker
    assert variant.features == settings.features


def test_every_knob_that_a_variant_turns_exists(settings: TrainSettings) -> None:
    for name, listed in VARIANTS.items():
        assert set(listed) <= {"two_tower", "training"}, name
        assert set(listed.get("two_tower", {})) <= set(settings.models.two_tower.model_dump())
        assert set(listed.get("training", {})) <= set(settings.train.retrieval.model_dump())


def test_runs_are_kept_for_the_config_that_they_were_made_with(settings: TrainSettings) -> None:
    other = load(TrainSettings, TINY, ["train.retrieval.learning_rate=0.5"])
    reseeded = load(TrainSettings, TINY, ["train.retrieval.seed=7", "models.ranker.experts=1"])
    assert base_of(settings) == base_of(reseeded)
    assert len({base_of(s) for s in (settings, other, varied(settings, "no time gaps", 0))}) == 3
