"""The training loop in one plain process."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from cluster.errors import InputError
from tests.linear import IDENTITY, LinearObjective, Silence
from train.checkpoints import Checkpoints
from train.config import ModelTraining
from train.loop import fit
from train.plain import PlainRuntime
from train.state import State

ROOT = Path(__file__).resolve().parents[3]
TRAINING = ModelTraining(epochs=8, batch_size=64, learning_rate=0.1, patience=8)


@pytest.fixture
def runtime(tmp_path: Path) -> PlainRuntime:
    return PlainRuntime(
        Checkpoints(fs.LocalFileSystem(), str(tmp_path / "run"), IDENTITY), Silence()
    )


class LostError(Exception):
    """Stands for a lost process."""


class FailingRuntime(PlainRuntime):
    """Dies right after its n-th checkpoint."""

    reports_left = 3

    def report(self, figures: dict[str, float], state: State) -> None:
        """Report, then perhaps die."""
        super().report(figures, state)
        self.settle()
        self.reports_left -= 1
        if not self.reports_left:
            raise LostError


def test_training_learns_the_law(runtime: PlainRuntime) -> None:
    objective = LinearObjective(TRAINING.model_copy(update={"epochs": 40, "patience": 40}))
    position = fit(objective, objective.training, runtime)
    weight = objective.model.get_parameter("layer.weight")
    assert torch.allclose(weight[0], torch.arange(1.0, 9.0), atol=0.05)
    assert [figures["epoch"] for figures in position.curves] == list(range(1, 41))
    seconds = [figures["seconds"] for figures in position.curves]
    assert seconds == sorted(seconds)
    assert 0 < seconds[-1] <= round(position.seconds, 3)


def test_training_stops_when_validation_stays_worse(runtime: PlainRuntime) -> None:
    training = TRAINING.model_copy(update={"patience": 2})
    objective = LinearObjective(training)
    figures = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    objective.validate = lambda: {"fit": next(figures)}  # type: ignore[method-assign]
    position = fit(objective, training, runtime)
    assert (position.epoch, position.best_epoch, position.best_value) == (4, 2, 3.0)


def test_patience_ends_nothing_before_its_steps(runtime: PlainRuntime) -> None:
    steps_of_an_epoch = LinearObjective(TRAINING).num_steps(1)
    update = {"patience": 2, "min_steps": 5 * steps_of_an_epoch}
    training = TRAINING.model_copy(update=update)
    objective = LinearObjective(training)
    figures = iter([3.0, 2.0, 2.0, 2.0, 2.0, 9.0])
    objective.validate = lambda: {"fit": next(figures)}  # type: ignore[method-assign]
    position = fit(objective, training, runtime)
    assert (position.epoch, position.best_epoch) == (5, 1)


def test_training_ends_with_the_best_weights(runtime: PlainRuntime) -> None:
    objective = LinearObjective(TRAINING)
    seen: list[torch.Tensor] = []

    def validate() -> dict[str, float]:
        seen.append(objective.model.get_parameter("layer.weight").clone())
        return {"fit": [0.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.0, 0.0][len(seen) - 1]}

    objective.validate = validate  # type: ignore[method-assign]
    fit(objective, TRAINING, runtime)
    assert torch.equal(objective.model.get_parameter("layer.weight"), seen[1])


def test_training_out_of_time_still_validates(runtime: PlainRuntime) -> None:
    training = TRAINING.model_copy(update={"max_minutes": 0.001, "batch_size": 4})
    objective = LinearObjective(training, step_s=0.004)
    position = fit(objective, training, runtime)
    assert position.is_over
    assert position.epoch == objective.validations == 1
    assert position.total_steps < objective.num_steps(1)


def test_a_loss_that_is_not_finite_is_named(runtime: PlainRuntime) -> None:
    objective = LinearObjective(TRAINING)
    objective.y[0] = math.inf
    with pytest.raises(InputError, match="loss is not finite in epoch 1.*learning_rate is 0.1"):
        fit(objective, TRAINING, runtime)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("checkpoint_minutes", [10.0, 1e-9])
def test_an_interrupted_training_ends_as_an_uninterrupted_one(
    tmp_path: Path, checkpoint_minutes: float, averaging: float
) -> None:
    training = TRAINING.model_copy(
        update={
            "checkpoint_minutes": checkpoint_minutes,
            "batch_size": 16,
            "averaging": averaging,
        }
    )
    weights = []
    for name, kind in (("whole", PlainRuntime), ("broken", FailingRuntime)):
        checkpoints = Checkpoints(fs.LocalFileSystem(), str(tmp_path / name), IDENTITY)
        if kind is FailingRuntime:
            with pytest.raises(LostError):
                fit(
                    LinearObjective(training, dropout=0.3),
                    training,
                    kind(checkpoints, Silence()),
                )
        objective = LinearObjective(training, dropout=0.3)
        position = fit(objective, training, PlainRuntime(checkpoints, Silence()))
        weights.append((objective.model.state_dict(), [c["loss"] for c in position.curves]))
    (whole, whole_curve), (broken, broken_curve) = weights
    assert whole_curve == broken_curve
    assert all(torch.equal(whole[name], broken[name]) for name in whole)


def test_a_killed_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "tests.linear"]
    process = subprocess.Popen([*command, str(killed)], cwd=ROOT)
    while len(list(killed.glob("run/checkpoint_*"))) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (killed / "weights.pt").exists()
    for folder in (killed, whole):
        subprocess.run([*command, str(folder)], cwd=ROOT, check=True, timeout=60)
    ours, theirs = (torch.load(folder / "weights.pt") for folder in (killed, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_finished_training_is_not_trained_again(runtime: PlainRuntime) -> None:
    first = LinearObjective(TRAINING)
    fit(first, TRAINING, runtime)
    second = LinearObjective(TRAINING)
    fit(second, TRAINING, runtime)
    assert second.validations == 0
    assert torch.equal(
        first.model.get_parameter("layer.weight"), second.model.get_parameter("layer.weight")
    )


def test_progress_names_epochs_steps_and_rate(runtime: PlainRuntime) -> None:
    objective = LinearObjective(TRAINING)
    fit(objective, TRAINING, runtime)
    heard = runtime.listener.heard  # type: ignore[attr-defined]
    epochs = [progress for progress in heard if progress.is_epoch]
    assert [progress.epoch for progress in epochs] == list(range(1, 9))
    assert all({"loss", "bias", "fit", "samples/s"} <= p.figures.keys() for p in epochs)


def test_bf16_trains(runtime: PlainRuntime) -> None:
    training = TRAINING.model_copy(update={"precision": "bf16", "epochs": 2})
    position = fit(LinearObjective(training), training, runtime)
    assert position.curves[1]["loss"] < position.curves[0]["loss"]


class DecayingObjective(LinearObjective):
    """Has the weight decay of its settings."""

    def optimizer(self) -> torch.optim.Optimizer:
        """AdamW."""
        decay = self.training.weight_decay
        self.built = torch.optim.AdamW(self.model.parameters(), lr=0.1, weight_decay=decay)
        return self.built


def test_a_resumed_training_has_the_decay_of_its_settings(runtime: PlainRuntime) -> None:
    shorter = TRAINING.model_copy(update={"epochs": 1})
    fit(DecayingObjective(shorter), shorter, runtime)
    longer = TRAINING.model_copy(update={"epochs": 2, "weight_decay": 0.5})
    objective = DecayingObjective(longer)
    fit(objective, longer, runtime)
    assert objective.built.param_groups[0]["weight_decay"] == 0.5
