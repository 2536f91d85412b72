"""Workers that are killed leave no trace in what a training ends with; a table is cut over them."""

import json
from pathlib import Path

import pytest
import torch
from pyarrow import fs

from tests.deaths import DeadlyFileSystem, Death
from tests.gloo import GlooRuntime, run_connected
from tests.linear import IDENTITY, train_linear
from train.checkpoints import Checkpoints
from train.config import ModelTraining
from train.peers import Peers

TRAINING = ModelTraining(
    epochs=3, batch_size=16, learning_rate=0.1, patience=3, checkpoint_minutes=1e-6
)
NUM_OWNERS = 37
NOWHERE = "nowhere"
FAILED = (
    torch.multiprocessing.ProcessExitedException,
    torch.multiprocessing.ProcessRaisedException,
)


def work(rank: int, folder: Path, deadly_files: str, death: Death | None) -> None:
    """Train as one of two workers, of which one may die."""
    files = DeadlyFileSystem(pattern=deadly_files, scar=str(folder / "scar"))
    path = str(folder / "run")
    checkpoints = Checkpoints(fs.PyFileSystem(fs.FSSpecHandler(files)), path, IDENTITY)
    runtime = GlooRuntime(checkpoints)
    train_linear(TRAINING, folder, runtime, death=death, dropout=0.3, num_owners=NUM_OWNERS)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    run_connected(2, work, folder, NOWHERE, None)
    return folder


@pytest.mark.parametrize(
    ("deadly_files", "death"),
    [
        (NOWHERE, Death(rank=1, epoch=1, step=25)),
        ("checkpoint_000002-.*/__1_0.distcp", None),
        ("checkpoint_000002-.*/checkpoint.json", None),
    ],
    ids=["in an epoch", "writing its share", "writing the seal"],
)
def test_a_killed_worker_changes_nothing(
    uninterrupted: Path, tmp_path: Path, deadly_files: str, death: Death | None
) -> None:
    with pytest.raises(FAILED):
        run_connected(2, work, tmp_path, deadly_files, death)
    assert (tmp_path / "scar").exists()
    assert not (tmp_path / "weights.pt").exists()
    run_connected(2, work, tmp_path, deadly_files, death)
    curves = [json.loads((path / "curves.json").read_text()) for path in (tmp_path, uninterrupted)]
    assert [row["loss"] for row in curves[0]] == [row["loss"] for row in curves[1]]
    ours, theirs = (torch.load(path / "weights.pt") for path in (tmp_path, uninterrupted))
    assert ours["owners.weight"].shape == (NUM_OWNERS, 1)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_what_two_workers_kept_of_a_table_is_read_whole(uninterrupted: Path) -> None:
    theirs = torch.load(uninterrupted / "weights.pt")
    ours = {name: torch.zeros_like(tensor) for name, tensor in theirs.items()}
    checkpoints = Checkpoints(fs.LocalFileSystem(), str(uninterrupted / "run"), IDENTITY)
    best = max(json.loads((uninterrupted / "curves.json").read_text()), key=lambda row: row["fit"])
    checkpoints.recall(int(best["epoch"]), {"model": ours}, Peers())
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
