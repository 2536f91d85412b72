"""The plain runtime writes checkpoints beside the training, one at a time."""

import threading
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from tests.linear import IDENTITY, Silence
from train.checkpoints import Checkpoints
from train.peers import Peers
from train.plain import PlainRuntime
from train.snapshot import Snapshot
from train.state import State

WAIT_S = 30


class WaitingCheckpoints(Checkpoints):
    """Writes when it is allowed to, and counts who writes at the same time."""

    def __init__(self, path: Path) -> None:
        super().__init__(fs.LocalFileSystem(), str(path), IDENTITY)
        self.is_allowed = threading.Event()
        self.num_writing = 0
        self.most_writing = 0

    def write(self, name: str, snapshot: Snapshot, peers: Peers) -> None:
        """Wait, then write."""
        self.num_writing += 1
        self.most_writing = max(self.most_writing, self.num_writing)
        assert self.is_allowed.wait(WAIT_S)
        super().write(name, snapshot, peers)
        self.num_writing -= 1


class BrokenCheckpoints(WaitingCheckpoints):
    """Finds the disk full."""

    def write(self, name: str, snapshot: Snapshot, peers: Peers) -> None:
        """Fail."""
        raise OSError("no space left")


def state_of(epoch: int, weight: torch.Tensor) -> State:
    position = {"epoch": epoch, "step": 0, "best_epoch": epoch}
    return {"model": {"weight": weight}, "position": position}


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path) -> None:
    checkpoints = WaitingCheckpoints(tmp_path)
    runtime = PlainRuntime(checkpoints, Silence())
    weight = torch.ones(4)
    runtime.report({}, state_of(1, weight))
    assert not list(tmp_path.iterdir())
    weight += 1
    checkpoints.is_allowed.set()
    runtime.settle()
    restored = runtime.restore({})
    assert restored is not None
    assert torch.equal(restored["model"]["weight"], torch.ones(4))


def test_two_are_never_written_at_once(tmp_path: Path) -> None:
    checkpoints = WaitingCheckpoints(tmp_path)
    runtime = PlainRuntime(checkpoints, Silence())
    runtime.report({}, state_of(1, torch.ones(4)))
    second = threading.Thread(target=runtime.report, args=({}, state_of(2, torch.ones(4))))
    second.start()
    checkpoints.is_allowed.set()
    second.join(WAIT_S)
    runtime.settle()
    assert checkpoints.most_writing == 1
    assert len(list(tmp_path.glob("checkpoint_0*"))) == 2


def test_a_checkpoint_that_cannot_be_written_ends_the_training(tmp_path: Path) -> None:
    runtime = PlainRuntime(BrokenCheckpoints(tmp_path), Silence())
    runtime.report({}, state_of(1, torch.ones(4)))
    with pytest.raises(OSError, match="no space left"):
        runtime.report({}, state_of(2, torch.ones(4)))
