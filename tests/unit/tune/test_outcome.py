"""Outcomes: what trials report becomes statuses, the best one, tables, a picture, an artifact."""

import io
import json
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from cluster.config import load
from cluster.errors import InputError
from tests.sweeps import SPACE, FakeTrial, standing, sweep_of
from train.config import TrainSettings
from tune.outcome import Outcome, best_of, outcomes_of
from tune.result import publish
from tune.summary import summary
from tune.sweep import Sweep
from tune.table import LiveTable, table

RATE, MIXTURE, EXPERTS = (
    "train.ranking.learning_rate",
    "models.ranker.mixture",
    "models.ranker.experts",
)
DEFAULT = {RATE: 0.001, MIXTURE: '"mmoe"', EXPERTS: 3}
SHARED = {RATE: 0.002, MIXTURE: '"shared"'}


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return sweep_of(SPACE, tmp_path)


@pytest.fixture
def outcomes(sweep: Sweep) -> list[Outcome]:
    trials = [
        FakeTrial(DEFAULT, "TERMINATED", standing(0.60, 0.61, is_over=True)),
        FakeTrial(SHARED, "TERMINATED", standing(0.62, 0.64, 0.63, is_over=True)),
        FakeTrial({**SHARED, RATE: 0.0002}, "TERMINATED", standing(0.55)),
        FakeTrial({**SHARED, RATE: 0.009}, "TERMINATED", {"failed": "the loss is not finite"}),
        FakeTrial({**SHARED, RATE: 0.008}, "ERROR", error=RuntimeError("first\nlost")),
        FakeTrial({**SHARED, RATE: 0.007}, "RUNNING", standing(0.5)),
        FakeTrial({**SHARED, RATE: 0.006}, "PENDING"),
    ]
    return outcomes_of(sweep, trials)


def drawn_text(sweep: Sweep, outcomes: list[Outcome]) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(table(sweep, outcomes))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_every_trial_has_a_status(outcomes: list[Outcome]) -> None:
    statuses = [outcome.status for outcome in outcomes]
    assert statuses == ["done", "done", "stopped", "failed", "failed", "running", "waiting"]
    assert [outcome.reason for outcome in outcomes[3:5]] == ["the loss is not finite", "lost"]


def test_a_trials_value_is_that_of_the_weights_it_keeps(outcomes: list[Outcome]) -> None:
    assert outcomes[1].value == 0.64
    assert outcomes[1].best_epoch == 2


def test_a_members_values_are_those_of_its_best_epoch(sweep: Sweep) -> None:
    member = {**standing(0.6, 0.7, 0.65), "history": [SHARED, SHARED, DEFAULT]}
    outcome = outcomes_of(sweep, [FakeTrial(DEFAULT, "RUNNING", member)])[0]
    assert outcome.values == {RATE: 0.002, MIXTURE: "shared"}


def test_the_best_trial_is_the_highest_or_the_lowest(outcomes: list[Outcome]) -> None:
    assert best_of(outcomes, 1.0) is outcomes[1]
    assert best_of(outcomes, -1.0) is outcomes[5]
    assert best_of(outcomes[3:5], 1.0) is None


def test_a_figure_that_should_fall_reads_as_it_is(tmp_path: Path) -> None:
    sweep = sweep_of(SPACE.replace("trials = 3", 'trials = 3\nmode = "min"'), tmp_path)
    trials = [FakeTrial(DEFAULT, "RUNNING", standing(0.7, 0.6, sign=-1.0))]
    assert outcomes_of(sweep, trials)[0].value == 0.6


def test_the_table_has_the_best_first_and_marked(sweep: Sweep, outcomes: list[Outcome]) -> None:
    rows = [line.split() for line in drawn_text(sweep, outcomes).splitlines()]
    trials = [row for row in rows if row and row[0].isdigit()]
    assert [row[0] for row in trials] == ["2", "1", "3", "6", "4", "5"]
    assert trials[0][3] == "0.6400*"
    assert trials[1][1:] == ["done", "2/2", "0.6100", "0.001", "mmoe", "3", "4"]


def test_without_a_terminal_only_news_are_said(
    sweep: Sweep, outcomes: list[Outcome], capsys: pytest.CaptureFixture[str]
) -> None:
    live = LiveTable(sweep)
    live.begin()
    live.see(outcomes)
    live.see(outcomes)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 6
    assert said[1].startswith("trial 2 done  epoch 3  auc 0.6400 best  learning_rate 0.002")
    assert said[3].endswith("the loss is not finite")


def test_the_result_is_a_config_that_training_takes(sweep: Sweep, outcomes: list[Outcome]) -> None:
    manifest = publish(sweep, outcomes, 12.0)
    folder = sweep.storage.fetch("tuned/ranking")
    from_toml = load(TrainSettings, folder / "best.toml")
    from_json = load(TrainSettings, folder / "best.json")
    assert from_toml == from_json
    assert from_toml.models.ranker.mixture == "shared"
    assert from_toml.train.ranking.learning_rate == 0.002
    assert tomllib.loads((folder / "best.toml").read_text())["serve"] == sweep.values["serve"]
    assert (folder / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "manifest.json").read_text()) == manifest
    assert manifest["default"]["value"] == 0.61
    assert manifest["best"]["trial"] == 2


def test_the_summary_shows_the_config_as_it_was(sweep: Sweep, outcomes: list[Outcome]) -> None:
    console = Console(file=io.StringIO(), width=140)
    console.print(summary(sweep, publish(sweep, outcomes, 12.0)))
    file = console.file
    assert isinstance(file, io.StringIO)
    assert "the config as it was 1" in file.getvalue()
    assert "2 done, 1 stopped, 2 failed" in file.getvalue()


def test_a_sweep_without_a_figure_says_why(sweep: Sweep, outcomes: list[Outcome]) -> None:
    with pytest.raises(InputError, match="no trial came to an end: the loss is not finite"):
        publish(sweep, outcomes[3:5], 1.0)
