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
from tests.linear import IDENTITY, Silence, train_linear
from train.checkpoints import Checkpoints
from train.config import ModelTraining, TrainConfig
from train.plain import PlainRuntime
from train.runtime import Runtime
from train.trainer import train_on_ray

pytestmark = [
    pytest.mark.integration,
    # Ray Train makes a DataContext, which warns of its own defaults.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

TRAINING = ModelTraining(epochs=4, batch_size=64, learning_rate=0.1, patience=4)
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


def checkpoints_in(folder: Path) -> Checkpoints:
    return Checkpoints(fs.LocalFileSystem(), str(folder / "runs" / "linear"), IDENTITY)


def train(
    folder: Path, training: ModelTraining = TRAINING, fatal_reports: int = 0, **config: int
) -> Silence:
    """Train on Ray and return what the driver heard."""
    heard = Silence()
    work: Callable[[Runtime], None] = partial(train_linear, training, folder, fatal_reports)
    config = {"num_workers": 1, "max_failures": 0, **config}
    train_on_ray(work, checkpoints_in(folder), TrainConfig.model_validate(config), heard)
    return heard


def train_plainly(folder: Path, fatal_reports: int = 0) -> None:
    """Train in this process; the scar says that it was killed already."""
    (folder / "scar").touch()
    runtime = PlainRuntime(checkpoints_in(folder), Silence())
    train_linear(TRAINING, folder, fatal_reports, runtime)


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


def test_a_killed_worker_ends_with_the_weights_of_one_that_was_not(
    cluster: None, folder: Callable[[str], Path]
) -> None:
    killed, whole = folder("killed"), folder("whole")
    train(killed, fatal_reports=2, max_failures=1, cpus_per_worker=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    train_plainly(whole, fatal_reports=2)
    torch.set_num_threads(threads)
    assert (killed / "starts.txt").read_text().split() == ["0/1", "0/1"]
    assert curve(killed) == curve(whole)
    ours, theirs = weights(killed), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_same_run_resumes_after_the_command_failed(
    cluster: None, folder: Callable[[str], Path]
) -> None:
    broken = folder("broken")
    with pytest.raises(ray.train.TrainingFailedError):
        train(broken, fatal_reports=3)
    state = checkpoints_in(broken).latest()
    assert state is not None
    assert state["position"]["epoch"] == 3
    heard = train(broken, fatal_reports=3)
    assert [p.epoch for p in heard.heard if p.is_epoch] == [4]


def test_a_workers_input_error_reaches_the_command(
    cluster: None, folder: Callable[[str], Path]
) -> None:
    training = TRAINING.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(ray.train.TrainingFailedError) as raised:
        train(folder("diverging"), training)
    known = input_error_in(raised.value)
    assert known is not None
    assert "the loss is not finite" in str(known)
