"""Checkpoints: what is torn is recognised, what is foreign is refused."""

import logging
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from cluster.errors import InputError
from train.checkpoints import Checkpoints

IDENTITY = {"model": "retrieval", "schema": "abc"}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(fs.LocalFileSystem(), str(tmp_path / "run"), IDENTITY)


def saved(checkpoints: Checkpoints, count: int) -> list[Path]:
    for number in range(count):
        checkpoints.save(
            {
                "number": number,
                "weight": torch.full((1000,), float(number)),
                "position": {"epoch": number, "step": 0},
            }
        )
    return sorted(Path(checkpoints.path).glob("checkpoint_*"))


def test_nothing_was_saved(checkpoints: Checkpoints) -> None:
    assert checkpoints.latest() is None


def test_the_newest_is_loaded_and_two_are_kept(checkpoints: Checkpoints) -> None:
    folders = saved(checkpoints, 4)
    assert [folder.name.split("-")[0] for folder in folders] == [
        "checkpoint_000002",
        "checkpoint_000003",
    ]
    state = checkpoints.latest()
    assert state is not None
    assert state["number"] == 3
    assert torch.equal(state["weight"], torch.full((1000,), 3.0))


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no state", "no seal", "bad seal"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    checkpoints: Checkpoints, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    newest = saved(checkpoints, 3)[-1]
    state, seal = newest / "state.pt", newest / "checkpoint.json"
    content = state.read_bytes()
    match damage:
        case "truncated":
            state.write_bytes(content[: len(content) // 2])
        case "flipped":
            state.write_bytes(content[:-100] + bytes([content[-100] ^ 1]) + content[-99:])
        case "no state":
            state.unlink()
        case "no seal":
            seal.unlink()
        case "bad seal":
            seal.write_text("{")
    with caplog.at_level(logging.WARNING):
        loaded = checkpoints.latest()
    assert loaded is not None
    assert loaded["number"] == 1
    assert f"{newest}: damaged checkpoint" in caplog.text


def test_no_checkpoint_is_intact(checkpoints: Checkpoints) -> None:
    for folder in saved(checkpoints, 2):
        (folder / "state.pt").write_bytes(b"")
    assert checkpoints.latest() is None


def test_a_half_written_one_is_not_seen(checkpoints: Checkpoints) -> None:
    saved(checkpoints, 1)
    (Path(checkpoints.path) / ".checkpoint_000001-000000000-abc").mkdir()
    (Path(checkpoints.path) / "checkpoint_manager_snapshot.json").write_text("of Ray Train")
    state = checkpoints.latest()
    assert state is not None
    assert state["number"] == 0


def test_a_checkpoint_of_another_training_is_refused_by_name(checkpoints: Checkpoints) -> None:
    saved(checkpoints, 1)
    other = Checkpoints(
        checkpoints.filesystem, checkpoints.path, {"model": "retrieval", "schema": "xyz"}
    )
    with pytest.raises(InputError, match="another training: schema is 'abc', not 'xyz'"):
        other.latest()


def test_clearing_leaves_nothing_and_may_be_repeated(checkpoints: Checkpoints) -> None:
    saved(checkpoints, 1)
    checkpoints.clear()
    checkpoints.clear()
    assert not Path(checkpoints.path).exists()
