"""Training on Ray Train's workers."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import ray.train
import torch
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from cluster.config import ClusterConfig
from cluster.errors import input_error_in
from cluster.session import session
from tests.deaths import Death
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


def checkpoints_in(folder: Path) -> Checkpoints:
    """Open them as those of a storage that only fsspec knows."""
    filesystem = fs.PyFileSystem(fs.FSSpecHandler(LocalFileSystem(auto_mkdir=True)))
    return Checkpoints(filesystem, str(folder / "runs" / "linear"), IDENTITY)


def train(
    folder: Path,
    training: ModelTraining = TRAINING,
    death: Death | None = None,
    dropout: float = 0.0,
    num_owners: int = 0,
    **config: int,
) -> Silence:
    """Train on Ray and return what the driver heard."""
    heard = Silence()
    work: Callable[[Runtime], None] = partial(
        train_linear, training, folder, death=death, dropout=dropout, num_owners=num_owners
    )
    config = {"num_workers": 1, "max_failures": 0, **config}
    checkpoints = checkpoints_in(folder)
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


def test_a_worker_killed_in_an_epoch_changes_nothing(
    cluster: None, folder: Callable[[str], Path]
) -> None:
    killed, whole = folder("killed"), folder("whole")
    death = Death(rank=1, epoch=1, step=25)
    train(killed, OFTEN, death, dropout=0.3, num_owners=37, num_workers=2, max_failures=1)
    train(whole, OFTEN, dropout=0.3, num_owners=37, num_workers=2)
    starts = (killed / "starts.txt").read_text().split()
    assert sorted(starts) == ["0/2", "0/2", "1/2", "1/2"]
    assert curve(killed) == curve(whole)
    ours, theirs = weights(killed), weights(whole)
    assert ours["owners.weight"].shape == (37, 1)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_the_same_run_resumes_after_the_command_failed(
    cluster: None, folder: Callable[[str], Path]
) -> None:
    broken = folder("broken")
    with pytest.raises(ray.train.TrainingFailedError):
        train(broken, death=Death(rank=0, epoch=3, step=0))
    checkpoints = checkpoints_in(broken)
    (Path(checkpoints.path) / RAYS_NOTE).write_text("{")
    heard = train(broken)
    # The third checkpoint may not have been whole yet; the second was, before the third began.
    assert [p.epoch for p in heard.heard if p.is_epoch] in ([3, 4], [4])


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
