"""Training on Ray Train's workers."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import ray.train
import torch
from pyarrow import fs

from cluster.config import ClusterConfig
from cluster.errors import input_error_in
from cluster.session import session
from tests.deaths import DeadlyFileSystem, Death
from tests.linear import IDENTITY, Silence, train_linear
from train.checkpoints import Checkpoints
from train.config import ModelTraining, TrainConfig
from train.plain import PlainRuntime
from train.runtime import Runtime
from train.trainer import RAYS_NOTE, train_on_ray

pytestmark = [
    pytest.mark.integration,
    # Ray Train makes a DataContext, which warns of its own defaults.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

TRAINING = ModelTraining(epochs=4, batch_size=64, learning_rate=0.1, patience=4)
OFTEN = TRAINING.model_copy(update={"batch_size": 16, "checkpoint_minutes": 1e-6})
CURVE_TOLERANCE = 1e-5  # the workers' gradients are summed in another order


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    with session(ClusterConfig(num_cpus=2)):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        (tmp_path / name).mkdir()
        return tmp_path / name

    return make


def checkpoints_in(folder: Path, filesystem: fs.FileSystem | None = None) -> Checkpoints:
    path = str(folder / "runs" / "linear")
    return Checkpoints(filesystem or fs.LocalFileSystem(), path, IDENTITY)


def train(
    folder: Path,
    training: ModelTraining = TRAINING,
    death: Death | None = None,
    filesystem: fs.FileSystem | None = None,
    dropout: float = 0.0,
    **config: int,
) -> Silence:
    """Train on Ray and return what the driver heard."""
    heard = Silence()
    work: Callable[[Runtime], None] = partial(
        train_linear, training, folder, death=death, dropout=dropout
    )
    config = {"num_workers": 1, "max_failures": 0, **config}
    checkpoints = checkpoints_in(folder, filesystem)
    train_on_ray(work, checkpoints, TrainConfig.model_validate(config), heard)
    return heard


def train_plainly(folder: Path) -> None:
    """Train in this process."""
    runtime = PlainRuntime(checkpoints_in(folder), Silence())
    train_linear(TRAINING, folder, runtime)


def curve(folder: Path) -> list[float]:
    return [figures["loss"] for figures in json.loads((folder / "curves.json").read_text())]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "weights.pt")
    return state


def test_two_workers_follow_the_curve_of_one_process(
    cluster: None, folder: Callable[[str], Path]
) -> None:
    one, two = folder("one"), folder("two")
    train_plainly(one)
    heard = train(two, num_workers=2)
    assert curve(two) == pytest.approx(curve(one), rel=CURVE_TOLERANCE)
    assert sorted((two / "starts.txt").read_text().split()) == ["0/2", "1/2"]
    assert [p.epoch for p in heard.heard if p.is_epoch] == [1, 2, 3, 4]


@pytest.fixture(scope="module")
def uninterrupted(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of two workers, of which none died."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    train(folder, OFTEN, dropout=0.3, num_workers=2)
    return folder


def assert_same_training(folder: Path, expected: Path) -> None:
    """Assert equal weights and curves, and that each worker was started twice."""
    assert sorted((folder / "starts.txt").read_text().split()) == ["0/2", "0/2", "1/2", "1/2"]
    assert curve(folder) == curve(expected)
    ours, theirs = weights(folder), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_worker_killed_in_an_epoch_changes_nothing(
    uninterrupted: Path, folder: Callable[[str], Path]
) -> None:
    killed = folder("killed")
    death = Death(rank=1, epoch=1, step=25)
    train(killed, OFTEN, death, dropout=0.3, num_workers=2, max_failures=1)
    assert_same_training(killed, uninterrupted)


def test_a_worker_killed_while_it_writes_a_checkpoint_changes_nothing(
    uninterrupted: Path, folder: Callable[[str], Path]
) -> None:
    killed = folder("killed")
    deadly = DeadlyFileSystem(pattern="checkpoint_000002-.*__1_0.distcp", scar=str(killed / "scar"))
    filesystem = fs.PyFileSystem(fs.FSSpecHandler(deadly))
    train(killed, OFTEN, None, filesystem, dropout=0.3, num_workers=2, max_failures=1)
    assert (killed / "scar").exists()
    assert_same_training(killed, uninterrupted)


def test_the_same_run_resumes_after_the_command_failed(
    cluster: None, folder: Callable[[str], Path]
) -> None:
    broken = folder("broken")
    with pytest.raises(ray.train.TrainingFailedError):
        train(broken, death=Death(rank=0, epoch=3, step=0))
    checkpoints = checkpoints_in(broken)
    (Path(checkpoints.path) / RAYS_NOTE).write_text("{")
    heard = train(broken)
    assert [p.epoch for p in heard.heard if p.is_epoch] == [4]


def test_a_workers_input_error_ends_the_run_at_once(
    cluster: None, folder: Callable[[str], Path]
) -> None:
    training = TRAINING.model_copy(update={"learning_rate": 1e30})
    diverging = folder("diverging")
    with pytest.raises(ray.train.TrainingFailedError) as raised:
        train(diverging, training, num_workers=2, max_failures=2)
    known = input_error_in(raised.value)
    assert known is not None
    assert "the loss is not finite" in str(known)
    assert sorted((diverging / "starts.txt").read_text().split()) == ["0/2", "1/2"]
