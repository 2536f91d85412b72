"""A trial tells how it stands after every epoch, once its checkpoint is kept."""

import math
from pathlib import Path

import pytest
from pyarrow import fs

from cluster.errors import InputError
from tests.linear import IDENTITY, LinearObjective, Silence
from train.checkpoints import Checkpoints
from train.config import ModelTraining
from train.loop import fit
from train.plain import PlainRuntime
from train.position import Position
from tune.standing import Standing, StandingRuntime

TRAINING = ModelTraining(epochs=3, batch_size=64, learning_rate=0.1, checkpoint_minutes=1e-6)


class CountingSilence(Silence):
    """Counts the checkpoints on disk whenever it hears of a standing."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.kept: list[set[str]] = []

    def tell(self, progress: object) -> None:
        """Remember standings."""
        if isinstance(progress, Standing):
            self.heard.append(progress)
            names = {path.name for path in self.folder.glob("checkpoint_*-000000000-*")}
            self.kept.append({name[11:17] for name in names})


@pytest.fixture
def heard(tmp_path: Path) -> CountingSilence:
    listener = CountingSilence(tmp_path)
    checkpoints = Checkpoints(fs.LocalFileSystem(), str(tmp_path), IDENTITY)
    runtime = StandingRuntime(PlainRuntime(checkpoints, listener), "fit")
    position = fit(LinearObjective(TRAINING), TRAINING, runtime)
    assert position.epoch == 3
    return listener


def test_every_epoch_is_told_once_with_its_curve(heard: CountingSilence) -> None:
    standings = [told for told in heard.heard if isinstance(told, Standing)]
    assert [standing.epoch for standing in standings] == [1, 2, 3]
    assert [len(standing.curve) for standing in standings] == [1, 2, 3]
    assert [standing.is_over for standing in standings] == [False, False, True]
    assert all(standing.figure == max(standing.curve) for standing in standings)


def test_it_is_told_when_the_checkpoint_of_the_epoch_is_kept(heard: CountingSilence) -> None:
    assert all(f"{epoch:06d}" in kept for epoch, kept in enumerate(heard.kept, 1))


def test_the_figure_is_that_of_the_epoch_whose_weights_are_kept() -> None:
    curves = [{"epoch": 1, "loss": 3.0}, {"epoch": 2, "loss": 2.0}, {"epoch": 3}]
    standing = Standing.of(Position(epoch=3, best_epoch=2, curves=curves), "loss")
    assert standing.figure == 2.0
    assert math.isnan(standing.curve[2])


def test_a_figure_that_is_no_number_ends_the_trial(tmp_path: Path) -> None:
    checkpoints = Checkpoints(fs.LocalFileSystem(), str(tmp_path), IDENTITY)
    runtime = StandingRuntime(PlainRuntime(checkpoints, Silence()), "auc")
    with pytest.raises(InputError, match="tune.monitor: auc is not a number"):
        fit(LinearObjective(TRAINING), TRAINING, runtime)
