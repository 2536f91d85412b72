"""Snapshots: what is read is what was taken, by any number of workers."""

from pathlib import Path

import pytest
import torch
from pyarrow import fs
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from tests.gloo import run_connected
from train.checkpoints import Checkpoints
from train.peers import Peers
from train.proven_files import ProvenFiles
from train.restoring import restore_state
from train.snapshot import Snapshot
from train.state import State

POSITION = {"epoch": 1, "step": 0, "best_epoch": 1}
TABLE = torch.arange(70.0).view(7, 10)
CHUNK_BYTES = 64


def written_and_read(folder: Path, state: State, part: State, **options: int) -> State:
    """Write a state from one worker and read it again."""
    files = ProvenFiles(fs.LocalFileSystem())
    snapshot = Snapshot({"position": POSITION, **state}, 0, 1, **options)  # type: ignore[arg-type]
    snapshot.write(files, str(folder), Peers())
    return restore_state(files, str(folder), part, 0)


@pytest.mark.parametrize("chunk_bytes", [8, 64, 2**20])
def test_a_state_of_many_kinds_returns_as_it_was(tmp_path: Path, chunk_bytes: int) -> None:
    tensors = {
        "wide": torch.randn(9, 5),
        "scalar": torch.tensor(2.5),
        "none": torch.zeros(0, 3),
        "half": torch.randn(6, 4).bfloat16(),
        "long": torch.arange(50),
        "mask": torch.tensor([True, False]),
        "across": torch.randn(4, 6).t(),
        "part": torch.randn(40)[3:21],
    }
    facts = {"groups": [{"lr": 0.1, "betas": (0.9, 0.99)}], "empty": {}, "nan": None, "s": "x"}
    state = {"optimizer": {"state": {0: tensors, 7: {"step": torch.tensor(3)}}, **facts}}
    back = written_and_read(tmp_path, state, {}, chunk_bytes=chunk_bytes)
    assert {name: back["optimizer"][name] for name in facts} == facts
    assert list(back["optimizer"]["state"]) == [0, 7]
    read = back["optimizer"]["state"][0]
    assert all(torch.equal(read[name], tensors[name]) for name in tensors)
    assert all(read[name].dtype == tensors[name].dtype for name in tensors)


def test_weights_are_read_in_place(tmp_path: Path) -> None:
    weight = torch.randn(5, 3)
    target = torch.zeros(5, 3)
    back = written_and_read(tmp_path, {"model": {"weight": weight}}, {"model": {"weight": target}})
    assert torch.equal(target, weight)
    assert back["model"]["weight"].data_ptr() == target.data_ptr()


@pytest.mark.parametrize(("room_bytes", "expected"), [(400, 1.0), (399, 2.0)])
def test_what_changes_later_is_copied_where_there_is_room(
    tmp_path: Path, room_bytes: int, expected: float
) -> None:
    weight = torch.ones(100)
    state = {"position": POSITION, "model": {"weight": weight}}
    snapshot = Snapshot(state, 0, 1, room_bytes=room_bytes)
    assert snapshot.is_copy == (expected == 1.0)
    weight += 1
    files = ProvenFiles(fs.LocalFileSystem())
    snapshot.write(files, str(tmp_path), Peers())
    target = torch.zeros(100)
    restore_state(files, str(tmp_path), {"model": {"weight": target}}, 0)
    assert torch.equal(target, torch.full((100,), expected))


def test_workers_share_what_all_of_them_hold() -> None:
    state = {"position": POSITION, "model": {"a": torch.ones(64, 2), "b": torch.ones(3)}}
    shares = [Snapshot(state, rank, 3, chunk_bytes=CHUNK_BYTES).chunks for rank in range(3)]
    sizes = [sum(chunk.nbytes for chunk in share.values()) for share in shares]
    assert sum(sizes) == 64 * 2 * 4 + 3 * 4
    assert max(sizes) - min(sizes) <= CHUNK_BYTES
    assert not set(shares[0]) & set(shares[1])


def state_of(num_workers: int) -> State:
    """Make a model with a table that is sharded over so many workers."""
    mesh = DeviceMesh("cpu", list(range(num_workers)))
    shard = distribute_tensor(TABLE, mesh, [Shard(0)])
    rank = torch.distributed.get_rank()
    return {
        "model": {"table": shard, "dense": torch.arange(12.0).view(3, 4)},
        "position": POSITION,
        "meter": {"steps": 10 + rank},
    }


def save_by_two(rank: int, folder: str) -> None:
    """Write a checkpoint."""
    checkpoints = Checkpoints(fs.LocalFileSystem(), folder, {})
    snapshot = Snapshot(state_of(2), rank, 2, chunk_bytes=CHUNK_BYTES)
    checkpoints.write("checkpoint_000001-000000000-a", snapshot, Peers.connected())


def load_by_three(rank: int, folder: str) -> None:
    """Read it, each worker its own rows."""
    model = state_of(3)["model"]
    tables = {name: torch.zeros_like(tensor) for name, tensor in model.items()}
    peers = Peers.connected()
    state = Checkpoints(fs.LocalFileSystem(), folder, {}).latest({"model": tables}, peers)
    assert state is not None
    assert state["meter"]["steps"] == 10 + rank % 2
    assert isinstance(tables["table"], DTensor)
    rows = slice(rank * 3, rank * 3 + 3)
    assert torch.equal(tables["table"].to_local(), TABLE[rows])
    assert torch.equal(tables["dense"], model["dense"])


def test_a_state_of_two_workers_is_read_by_three_and_by_one(tmp_path: Path) -> None:
    run_connected(2, save_by_two, str(tmp_path))
    run_connected(3, load_by_three, str(tmp_path))
    checkpoints = Checkpoints(fs.LocalFileSystem(), str(tmp_path), {})
    plain = {"table": torch.zeros(7, 10), "dense": torch.zeros(3, 4)}
    state = checkpoints.latest({"model": plain}, Peers())
    assert state is not None
    assert torch.equal(plain["table"], TABLE)
    again = {"table": torch.zeros(7, 10)}
    checkpoints.recall(1, {"model": again}, Peers())
    assert torch.equal(again["table"], TABLE)
