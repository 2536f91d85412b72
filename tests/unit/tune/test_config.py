"""`[tune]`: what is refused is refused in one line that names file, key and value."""

import re
from pathlib import Path

import pytest

from cluster.config import load
from cluster.errors import ConfigError
from tests.conftest import TINY
from tune.config import TuneSettings

RATE = "tune.space.train.ranking.learning_rate"


def complaint(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(TuneSettings, path, overrides)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], "tune.space: names no key to vary"),
        (
            ["tune.space.train.ranking.learning_rat.low=1e-4"],
            "tune.space.train.ranking.learning_rat: needs low and high, or a choice",
        ),
        (
            ["tune.space.train.ranking.learning_rat.choice=[0.1]"],
            "tune.space.train.ranking.learning_rat: unknown key; "
            "did you mean 'train.ranking.learning_rate'?",
        ),
        (
            ["tune.space.train.retrieval.epochs.choice=[2]"],
            "tune.space.train.retrieval.epochs: a sweep of ranking varies only keys of "
            "[models.ranker] and [train.ranking]",
        ),
        (
            ["tune.space.features.history_length.choice=[2]"],
            "tune.space.features.history_length: a sweep of ranking varies only",
        ),
        (
            [f"{RATE}.low=0.1", f"{RATE}.high=0.01"],
            f"{RATE}: low = 0.1 is not below high = 0.01",
        ),
        ([f"{RATE}.low=0.1", f"{RATE}.high=0.1"], "low = 0.1 is not below high = 0.1"),
        (
            [f"{RATE}.low=-0.1", f"{RATE}.high=0.1"],
            f"{RATE}: input should be greater than 0, got -0.1",
        ),
        (
            [f"{RATE}.low=0.0", f"{RATE}.high=0.1", f"{RATE}.log=true"],
            f"{RATE}: log needs low above 0 and no step; low = 0",
        ),
        ([f"{RATE}.choice=[0.1, 'fast']"], "got 'fast'"),
        ([f"{RATE}.choice=[0.1]", f"{RATE}.low=0.1"], "either a choice, or low and high"),
        ([f"{RATE}.chioce=[0.1]"], "did you mean"),
        (
            ["tune.space.train.ranking.epochs.low=1.5", "tune.space.train.ranking.epochs.high=3"],
            "tune.space.train.ranking.epochs: takes whole numbers, got 1.5",
        ),
        (
            [f"{RATE}.choice=[0.1]", f"{RATE}.when={{'models.ranker.mixtur' = 'ple'}}"],
            f"{RATE}: unknown key; did you mean 'models.ranker.mixture'?",
        ),
        (
            [f"{RATE}.choice=[0.1]", "tune.monitor=acu"],
            "tune.monitor: no such figure: 'acu'; did you mean 'auc'?",
        ),
        ([f"{RATE}.choice=[0.1]", "tune.model=ranker"], "tune.model: input should be"),
        ([f"{RATE}.choice=[0.1]", "tune.trials=0"], "tune.trials: input should be greater"),
        ([f"{RATE}.choice=[0.1]", "train.models=['retrieval']"], "tune.model: [train] models"),
        (
            [f"{RATE}.choice=[0.1, 0.2]", "tune.scheduler=pbt", "tune.trials=1"],
            "tune.trials: pbt needs a population, got 1",
        ),
        (
            ["tune.space.models.ranker.width.choice=[8, 16]", "tune.scheduler=pbt"],
            "tune.space.models.ranker.width: pbt cannot change it during a training",
        ),
    ],
)
def test_a_wrong_sweep_is_refused(overrides: list[str], expected: str) -> None:
    assert re.sub(r"\s+", " ", expected) in complaint(TINY, *overrides)


def test_a_space_may_be_written_as_nested_tables_or_as_quoted_keys(tmp_path: Path) -> None:
    config = tmp_path / "nested.toml"
    quoted = '[tune.space."train.ranking.learning_rate"]\nlow = 1e-4\nhigh = 1e-2\n'
    config.write_text(TINY.read_text() + quoted)
    settings = load(TuneSettings, config, [f"{RATE}.high=0.5"])
    parameter = settings.tune.space["train.ranking.learning_rate"]
    assert (parameter.low, parameter.high) == (1e-4, 0.5)


def test_without_a_budget_a_sweep_has_twenty_trials_and_with_minutes_as_many_as_fit() -> None:
    counted = load(TuneSettings, TINY, [f"{RATE}.choice=[0.1]"])
    timed = load(TuneSettings, TINY, [f"{RATE}.choice=[0.1]", "tune.max_minutes=5"])
    assert counted.tune.num_trials == 20
    assert timed.tune.num_trials is None


def test_a_joint_refusal_does_not_hide_values_that_are_right_with_others() -> None:
    heads = "tune.space.models.two_tower.heads.choice=[2, 3]"
    dims = "tune.space.models.two_tower.dim.choice=[32, 48]"
    settings = load(TuneSettings, TINY, ["tune.model=retrieval", heads, dims])
    assert settings.tune.space["models.two_tower.heads"].choice == (2, 3)
