"""Sweeps on Ray Tune: they go on after a kill, and what they find is what training then gives."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch

from cluster.config import ClusterConfig, load
from cluster.session import WORKER_ENVIRONMENT, session
from cluster.storage import Storage
from cluster.tracking import tracking_uri
from features.examples import Examples
from tests.conftest import ROOT, TINY, run_command, succeed
from tests.sweeps import sweep_of
from train.config import ModelName, TrainSettings
from train.trainees import build_trainee
from tune.execution import carry_out
from tune.figures import figures_of, monitor_of
from tune.sweep import Sweep

pytestmark = [
    pytest.mark.integration,
    # MLflow's models use what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
    # Ray Train makes a DataContext, which warns of its own defaults.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

SPACE = """
[tune]
model = "ranking"
trials = 3
concurrent_trials = 1
scheduler = "none"

[tune.space."train.ranking.learning_rate"]
low = 1e-4
high = 1e-2
log = true
"""
MEMBERS = """
[tune]
model = "ranking"
scheduler = "pbt"
trials = 2
concurrent_trials = 2
[tune.pbt]
quantile = 0.5
[tune.space."train.ranking.learning_rate"]
low = 1e-7
high = 1e-3
log = true
"""
WORKERS = """
[tune]
model = "retrieval"
trials = 3
concurrent_trials = 2
[tune.asha]
reduction = 2
[tune.space."train.retrieval.learning_rate"]
low = 1e-9
high = 5e-3
log = true
"""
TIMED = SPACE.replace("trials = 3", "max_minutes = 0.5")


@pytest.fixture
def root(tiny_root: Path, tmp_path: Path) -> Path:
    """A root of its own with the tiny world's prepared data."""
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "examples").symlink_to((tiny_root / "tiny" / "examples").resolve())
    return tmp_path


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with session(ClusterConfig(num_cpus=4, dashboard=True), WORKER_ENVIRONMENT):
        yield


def planned(text: str, root: Path, *overrides: str) -> Sweep:
    sweep = sweep_of(text, root, f"storage.root={root}", *overrides)
    return Sweep.of(sweep.settings, sweep.values, sweep.path, Examples.open(sweep.storage))


def runs_of(root: Path) -> dict[str, Any]:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri(Storage(str(root), "tiny")))
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def kill_after_first_trial(arguments: list[str], root: Path) -> str:
    """Start a sweep, kill its driver once a trial is noted as over; return what it had said."""
    command = [sys.executable, "-m", "tune", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stderr is not None
        said = list(takewhile(lambda line: not line.startswith("trial 2 running"), driver.stderr))
        while "TERMINATED" not in noted_state(root):
            assert driver.poll() is None
            time.sleep(0.05)
        os.kill(driver.pid, signal.SIGKILL)
    return "".join(said)


def noted_state(root: Path) -> str:
    states = root.glob("tiny/runs/tune-ranking/*/checkpoints/experiment/experiment_state-*.json")
    return "".join(path.read_text() for path in states)


@pytest.mark.parametrize("model", ["retrieval", "ranking"])
def test_every_figure_that_a_sweep_may_watch_is_one_that_validation_gives(
    tiny_storage: Storage, model: ModelName
) -> None:
    settings = load(TrainSettings, TINY)
    trainee = build_trainee(settings, model, Examples.open(tiny_storage))
    with torch.no_grad():
        given = trainee.validate()
    assert set(figures_of(settings, model)) <= given.keys()
    assert monitor_of(settings, model) == trainee.monitor


def test_a_wrong_space_ends_the_command_in_one_line(tmp_path: Path) -> None:
    override = "tune.space.train.ranking.learning_rat.choice=[0.1]"
    done = run_command("tune", "--set", override, "--set", f"storage.root={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {TINY}: tune.space.train.ranking.learning_rat: unknown key; "
        "did you mean 'train.ranking.learning_rate'?\n"
    )


def test_a_killed_sweep_goes_on_and_its_best_config_trains_to_its_figure(root: Path) -> None:
    config = root / "tiny.toml"
    config.write_text(TINY.read_text() + SPACE)
    arguments = [str(config), "--set", f"storage.root={root}", "--set", "cluster.num_cpus=2"]
    said = kill_after_first_trial(arguments, root)
    assert "trial 1 done  epoch 2" in said
    resumed = run_command("tune", *arguments[1:], "--report", f"{root}/r.json", config=config)
    assert resumed.returncode == 0, resumed.stderr
    assert "trial 1 running" not in resumed.stderr
    report = json.loads((root / "r.json").read_text())
    assert [trial["status"] for trial in report["trials"]] == ["done"] * 3
    assert report["default"]["trial"] == 1
    assert report["best"]["value"] == max(trial["value"] for trial in report["trials"])
    runs = runs_of(root)
    parent = runs["tune ranking"]
    trials = [run for name, run in runs.items() if name.startswith("trial")]
    assert {run.data.tags["mlflow.parentRunId"] for run in trials} == {parent.info.run_id}
    assert {run.info.status for run in [parent, *trials]} == {"FINISHED"}
    assert len(trials) == 3
    best = root / "tiny" / "tuned" / "ranking" / "best.toml"
    again = run_command("tune", *arguments[1:], config=config)
    assert again.returncode == 0
    assert "trial" not in again.stderr
    succeed("train", ["--only", "ranking", "--set", f"storage.root={root}"], config=best)
    trained = json.loads((root / "tiny" / "trained" / "ranking" / "manifest.json").read_text())
    assert trained["validation"] == pytest.approx(report["best"]["value"], rel=1e-6)


def test_a_member_of_a_population_goes_on_from_the_better_ones_weights(
    cluster: None, root: Path
) -> None:
    sweep = planned(MEMBERS, root, "train.ranking.epochs=4", "train.ranking.patience=4")
    manifest = carry_out(sweep)
    curves = [trial["curve"] for trial in manifest["trials"]]
    assert [len(curve) for curve in curves] == [4, 4]
    assert curves[0][0] == curves[1][0]
    worse, better = sorted(manifest["trials"], key=lambda trial: trial["value"])
    if worse["value"] == better["value"]:  # the best epoch was inherited, with its values
        assert worse["values"] == better["values"]


def test_trials_at_a_time_have_workers_of_their_own_until_halving_ends_them(
    cluster: None, root: Path
) -> None:
    sweep = planned(WORKERS, root, "train.num_workers=2", "train.retrieval.epochs=3")
    manifest = carry_out(sweep)
    default, _, last = manifest["trials"]
    assert (default["status"], default["epochs"]) == ("done", 3)
    assert manifest["best"]["trial"] == default["trial"] == 1
    assert (last["status"], last["epochs"]) == ("stopped", 1)
    assert all(trial["reason"] is None for trial in manifest["trials"])


def test_the_time_that_a_sweep_has_ends_trials_that_would_go_on(cluster: None, root: Path) -> None:
    endless = ["train.ranking.epochs=100000", "train.ranking.patience=100000"]
    manifest = carry_out(planned(TIMED, root, *endless))
    (trial,) = manifest["trials"]
    assert (trial["status"], trial["reason"]) == ("stopped", None)
    assert trial["value"] == max(trial["curve"]) == manifest["best"]["value"]
