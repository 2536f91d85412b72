"""Checkpoints: what is torn is recognised, what is foreign is refused, the best is kept."""

import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import fs

from cluster.errors import InputError
from train.checkpoints import Checkpoints, checkpoint_name
from train.peers import Peers
from train.snapshot import Snapshot
from train.state import State

IDENTITY = {"model": "retrieval", "schema": "abc"}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(fs.LocalFileSystem(), str(tmp_path / "run"), IDENTITY)


def blank() -> State:
    return {"model": {"weight": torch.zeros(1000), "table": torch.zeros(30, 4)}}


def save(checkpoints: Checkpoints, epoch: int, *, step: int = 0, best_epoch: int = 0) -> str:
    """Write a checkpoint whose weights are `epoch` and return its folder."""
    state: State = {
        "model": {name: tensor + epoch for name, tensor in blank()["model"].items()},
        "optimizer": {"state": {0: {"step": torch.tensor(7.0)}}, "param_groups": [{"lr": 0.1}]},
        "position": {"epoch": epoch, "step": step, "best_epoch": best_epoch},
    }
    name = checkpoint_name(state)
    checkpoints.write(name, Snapshot(state, 0, 1), Peers())
    return f"{checkpoints.path}/{name}"


def latest_epoch(checkpoints: Checkpoints, peers: Peers | None = None) -> int | None:
    """Load the newest intact checkpoint and check that all of it is of one epoch."""
    part = blank()
    state = checkpoints.latest(part, peers or Peers())
    if state is None:
        return None
    epoch: int = state["position"]["epoch"]
    assert torch.equal(part["model"]["weight"], torch.full((1000,), float(epoch)))
    assert torch.equal(state["model"]["table"], torch.full((30, 4), float(epoch)))
    return epoch


def epochs_kept(checkpoints: Checkpoints) -> list[int]:
    return sorted(int(path.name[11:17]) for path in Path(checkpoints.path).glob("checkpoint_0*"))


def test_nothing_was_saved(checkpoints: Checkpoints) -> None:
    assert latest_epoch(checkpoints) is None


def test_the_newest_is_loaded_and_two_are_kept(checkpoints: Checkpoints) -> None:
    for epoch in range(4):
        save(checkpoints, epoch)
    assert epochs_kept(checkpoints) == [2, 3]
    assert latest_epoch(checkpoints) == 3
    state = checkpoints.latest(blank(), Peers())
    assert state is not None
    assert state["optimizer"]["param_groups"] == [{"lr": 0.1}]
    assert float(state["optimizer"]["state"][0]["step"]) == 7.0


def test_the_best_epoch_is_kept_and_recalled(checkpoints: Checkpoints) -> None:
    for epoch in range(1, 6):
        save(checkpoints, epoch, best_epoch=min(epoch, 2))
        save(checkpoints, epoch, step=10, best_epoch=min(epoch, 2))
    assert epochs_kept(checkpoints) == [2, 5, 5]
    part = blank()
    checkpoints.recall(2, part, Peers())
    assert torch.equal(part["model"]["weight"], torch.full((1000,), 2.0))


def test_a_best_epoch_that_was_beaten_goes(checkpoints: Checkpoints) -> None:
    for epoch, best_epoch in ((1, 1), (2, 1), (3, 1), (4, 4), (5, 4)):
        save(checkpoints, epoch, best_epoch=best_epoch)
    assert epochs_kept(checkpoints) == [4, 5]


def test_a_damaged_best_epoch_is_not_recalled(checkpoints: Checkpoints) -> None:
    folder = save(checkpoints, 1, best_epoch=1)
    (Path(folder) / "__0_0.distcp").write_bytes(b"")
    with pytest.raises(InputError, match="run: no intact checkpoint of epoch 1"):
        checkpoints.recall(1, blank(), Peers())


def test_a_lost_best_epoch_does_not_lose_the_training(
    checkpoints: Checkpoints, caplog: pytest.LogCaptureFixture
) -> None:
    best = save(checkpoints, 1, best_epoch=1)
    save(checkpoints, 2, best_epoch=1)
    (Path(best) / "facts-0.pt").unlink()
    with caplog.at_level(logging.WARNING):
        state = checkpoints.latest(blank(), Peers())
    assert state is not None
    assert state["position"] == {"epoch": 2, "step": 0, "best_epoch": 0, "best_value": -math.inf}
    assert "the best epoch is lost" in caplog.text


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-50] + bytes([content[-50] ^ 1]) + content[-49:])


@pytest.mark.parametrize("file", ["__0_0.distcp", ".metadata", "facts-0.pt", "checkpoint.json"])
@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    checkpoints: Checkpoints,
    file: str,
    damage: Callable[[Path], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    save(checkpoints, 1)
    newest = save(checkpoints, 2)
    damage(Path(newest) / file)
    with caplog.at_level(logging.WARNING):
        assert latest_epoch(checkpoints) == 1
    assert f"{newest}: damaged checkpoint" in caplog.text


def test_no_checkpoint_is_intact(checkpoints: Checkpoints) -> None:
    for epoch in (1, 2):
        truncate(Path(save(checkpoints, epoch)) / "__0_0.distcp")
    assert latest_epoch(checkpoints) is None


class DoubtingPeers(Peers):
    """Another worker finds the first checkpoint that is asked about damaged."""

    doubts = 1

    def all(self, value: Any) -> list[Any]:
        """Answer for both workers."""
        if isinstance(value, bool) and self.doubts:
            self.doubts -= 1
            return [value, False]
        return [value, value]


def test_what_one_worker_finds_damaged_no_worker_uses(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    save(checkpoints, 2)
    assert latest_epoch(checkpoints, DoubtingPeers()) == 1


def test_a_half_written_one_is_not_used_and_goes(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    torn = Path(save(checkpoints, 2))
    (torn / "checkpoint.json").unlink()
    (Path(checkpoints.path) / "checkpoint_manager_snapshot.json").write_text("of Ray Train")
    assert latest_epoch(checkpoints) == 1
    save(checkpoints, 2)
    assert not torn.exists()
    assert epochs_kept(checkpoints) == [1, 2]


def test_a_checkpoint_of_another_training_is_refused_by_name(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    other = Checkpoints(
        checkpoints.filesystem, checkpoints.path, {"model": "retrieval", "schema": "xyz"}
    )
    with pytest.raises(InputError, match="another training: schema is 'abc', not 'xyz'"):
        other.latest(blank(), Peers())


def test_a_storage_that_only_fsspec_knows_serves_as_well(tmp_path: Path) -> None:
    filesystem = fs.PyFileSystem(fs.FSSpecHandler(MemoryFileSystem()))
    checkpoints = Checkpoints(filesystem, f"{tmp_path.name}/run", IDENTITY)
    for epoch in range(1, 4):
        save(checkpoints, epoch, best_epoch=1)
    assert latest_epoch(checkpoints) == 3
    checkpoints.recall(1, part := blank(), Peers())
    assert torch.equal(part["model"]["weight"], torch.ones(1000))
    checkpoints.clear()
    assert latest_epoch(checkpoints) is None


def test_clearing_leaves_nothing_and_may_be_repeated(checkpoints: Checkpoints) -> None:
    save(checkpoints, 1)
    checkpoints.clear()
    checkpoints.clear()
    assert not Path(checkpoints.path).exists()
