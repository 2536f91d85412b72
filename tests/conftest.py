"""Fixtures that several layers share: the tiny world, prepared, trained and published once."""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from cluster.storage import Storage

# Small models gain nothing from threads, and on a busy machine threads wait for each other. Read by
# the commands that tests start; in this process torch is told by itself.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

# A busy machine draws and runs slowly; that is no property of the code.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

ROOT = Path(__file__).resolve().parent.parent
TINY = ROOT / "tests" / "tiny.toml"
COMMAND_TIMEOUT_S = 3_600  # no measure of speed: a hang ends, a long training does not


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


def run_command(
    folder: str, *arguments: str, config: Path = TINY
) -> subprocess.CompletedProcess[str]:
    """Run `python -m FOLDER CONFIG ARGUMENTS` from the repository root."""
    return subprocess.run(
        [sys.executable, "-m", folder, str(config), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )


def succeed(folder: str, arguments: Sequence[str], config: Path = TINY) -> None:
    """Run a command and fail the test with its output unless it exits 0."""
    done = run_command(folder, *arguments, config=config)
    assert done.returncode == 0, f"python -m {folder}:\n{done.stdout}\n{done.stderr}"


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that `make` has filled; the processes of one `make test` have copies of one.

    They find it under `TEST_ARTIFACTS`; without that, processes side by side do in their parent's
    folder.
    """
    own = factory.mktemp(name)
    shared = os.environ.get("TEST_ARTIFACTS")
    if shared is None and "PYTEST_XDIST_WORKER" not in os.environ:
        make(own)
        return own
    first = (Path(shared) if shared else factory.getbasetemp().parent) / name
    is_made = first.with_suffix(".made")
    with first.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_made.exists():
            shutil.rmtree(first, ignore_errors=True)
            first.mkdir()
            make(first)
            is_made.touch()
    shutil.copytree(first, own, symlinks=True, dirs_exist_ok=True)
    return own


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage root with the tiny world prepared by `python -m features`."""

    def prepare(root: Path) -> None:
        succeed("features", ["--set", f"storage.root={root}"])

    return made_once(tmp_path_factory, "tiny", prepare)


@pytest.fixture(scope="session")
def tiny_storage(tiny_root: Path) -> Storage:
    """The storage that holds the tiny world's prepared data."""
    return Storage(str(tiny_root), "tiny")


@pytest.fixture(scope="session")
def tiny_bundle_root(tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another root with the tiny world, both models trained and a champion bundle published."""

    def publish(root: Path) -> None:
        shutil.copytree(tiny_root, root, symlinks=True, dirs_exist_ok=True)
        overrides = ["--set", f"storage.root={root}"]
        # Ray Train has tests of its own.
        succeed("train", [*overrides, "--set", "train.num_workers=0"])
        succeed("retrieval", overrides)

    return made_once(tmp_path_factory, "tiny-bundle", publish)
