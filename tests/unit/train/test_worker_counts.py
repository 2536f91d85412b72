"""A training that was interrupted goes on with another number of workers."""

import json
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from tests.gloo import GlooRuntime, run_workers
from tests.linear import IDENTITY, Silence, train_linear
from train.checkpoints import Checkpoints
from train.config import ModelTraining
from train.plain import PlainRuntime
from train.state import State

TRAINING = ModelTraining(
    epochs=3, batch_size=12, learning_rate=0.05, patience=9, checkpoint_minutes=1e-6
)
"""The batch is that of all workers: two and three of them share it evenly."""
LOST_AT = {"epoch": 1, "step": 20}
STEPS_DONE = 42 + 20
NUM_OWNERS = 37
TOLERANCE = 1e-4  # the workers' gradients are summed in another order


class LostError(Exception):
    """Stands for lost machines."""


class Losing:
    """A runtime that is lost right after its checkpoint at `LOST_AT`."""

    def report(self, figures: dict[str, float], state: State) -> None:
        """Report, then perhaps fail."""
        super().report(figures, state)
        if LOST_AT.items() <= state["position"].items():
            self.settle()
            raise LostError


class LosingPlain(Losing, PlainRuntime):
    """Of a process alone."""


class LosingGloo(Losing, GlooRuntime):
    """Of connected processes."""


def lose(folder: Path, num_workers: int) -> None:
    """Train as one of the workers until the loss."""
    checkpoints = Checkpoints(fs.LocalFileSystem(), str(folder / "run"), IDENTITY)
    is_alone = num_workers == 1
    runtime = LosingPlain(checkpoints, Silence()) if is_alone else LosingGloo(checkpoints)
    with pytest.raises(LostError):
        train_linear(TRAINING, folder, runtime, num_owners=NUM_OWNERS)


def finish(folder: Path, num_workers: int) -> int:
    """Train as one of the workers to the end; return after how many steps rank 0 first told."""
    checkpoints = Checkpoints(fs.LocalFileSystem(), str(folder / "run"), IDENTITY)
    is_alone = num_workers == 1
    runtime = PlainRuntime(checkpoints, Silence()) if is_alone else GlooRuntime(checkpoints)
    train_linear(TRAINING, folder, runtime, num_owners=NUM_OWNERS)
    return min((progress.total_steps for progress in runtime.listener.heard), default=0)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process comes to without a loss."""
    folder = tmp_path_factory.mktemp("whole")
    assert finish(folder, 1) <= STEPS_DONE
    return folder


@pytest.mark.parametrize(("before", "after"), [(2, 1), (2, 3), (1, 2)])
def test_other_workers_end_where_one_process_does(
    expected: Path, tmp_path: Path, before: int, after: int
) -> None:
    if before == 1:
        lose(tmp_path, 1)
    else:
        run_workers(lose, before, tmp_path / "before", tmp_path, before)
    if after == 1:
        first_told = finish(tmp_path, 1)
    else:
        first_told = run_workers(finish, after, tmp_path / "after", tmp_path, after)[0]
    assert first_told > STEPS_DONE
    ours, theirs = (torch.load(folder / "weights.pt") for folder in (tmp_path, expected))
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=TOLERANCE, atol=TOLERANCE)
    curves = [json.loads((f / "curves.json").read_text()) for f in (tmp_path, expected)]
    ours, theirs = ([epoch["loss"] for epoch in curve] for curve in curves)
    assert ours[0] == pytest.approx(theirs[0], rel=TOLERANCE)
    assert ours[2] == pytest.approx(theirs[2], rel=TOLERANCE)
