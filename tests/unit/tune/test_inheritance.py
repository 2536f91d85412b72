"""A trial takes over another's checkpoints, whole, while the other goes on."""

from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from train.checkpoints import Checkpoints
from tune.inheritance import ATTEMPTS, inherit


def checkpoints_in(path: Path, filesystem: fs.FileSystem | None = None) -> Checkpoints:
    return Checkpoints(filesystem or fs.LocalFileSystem(), str(path), {})


def fill(path: Path, *epochs: int, step: int = 0) -> None:
    for epoch in epochs:
        folder = path / f"checkpoint_{epoch:06d}-{step:09d}-abcdef"
        folder.mkdir(parents=True)
        (folder / "state").write_text(f"{path.name} {epoch}")


def content(path: Path) -> list[str]:
    return sorted(file.read_text() for file in path.rglob("state"))


class Vanishing(LocalFileSystem):  # type: ignore[misc]
    """Loses its files when they are opened, so many times."""

    cachable = False

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb" and self.times:
            self.times -= 1
            raise FileNotFoundError(path)
        return super()._open(path, mode, **options)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    fill(tmp_path / "source", 1, 2)
    (tmp_path / "source" / "note.json").write_text("of Ray Train's")
    return tmp_path / "source"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    fill(tmp_path / "own", 0)
    return tmp_path / "own"


def test_own_checkpoints_give_way_to_the_others(source: Path, own: Path) -> None:
    inherit(checkpoints_in(source), checkpoints_in(own), 2)
    assert content(own) == ["source 1", "source 2"]
    assert not (own / "note.json").exists()


def test_what_the_other_did_later_is_left_to_it(source: Path, own: Path) -> None:
    fill(source, 2, step=10)
    fill(source, 3)
    inherit(checkpoints_in(source), checkpoints_in(own), 2)
    assert content(own) == ["source 1", "source 2"]


def test_a_later_checkpoint_serves_where_the_wanted_one_is_gone(source: Path, own: Path) -> None:
    inherit(checkpoints_in(source), checkpoints_in(own), 0)
    assert content(own) == ["source 1", "source 2"]


def test_what_vanishes_while_it_is_copied_is_copied_again(source: Path, own: Path) -> None:
    vanishing = fs.PyFileSystem(fs.FSSpecHandler(Vanishing(times=2)))
    inherit(checkpoints_in(source, vanishing), checkpoints_in(own), 2)
    assert content(own) == ["source 1", "source 2"]


def test_what_vanishes_every_time_is_an_error(source: Path, own: Path) -> None:
    vanishing = fs.PyFileSystem(fs.FSSpecHandler(Vanishing(times=2 * ATTEMPTS)))
    with pytest.raises(FileNotFoundError):
        inherit(checkpoints_in(source, vanishing), checkpoints_in(own), 2)


def test_nothing_to_inherit_is_an_error(tmp_path: Path, own: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nobody: no checkpoint"):
        inherit(checkpoints_in(tmp_path / "nobody"), checkpoints_in(own), 1)
