"""How a trial of a population takes over the weights of a better one."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import ray.tune
from pyarrow import fs

from train.checkpoints import PREFIX, Checkpoints
from tune.space import Drawn

ORIGIN = "origin.json"
"""The file of a Tune checkpoint; it says where the weights are."""
ATTEMPTS = 5


@dataclass(frozen=True)
class Origin:
    """Whose weights a trial goes on from.

    Attributes:
        trial: that has the checkpoints.
        history: the values of every epoch done, as drawn.
    """

    trial: str
    history: list[Drawn]

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @classmethod
    def wanted(cls) -> "Origin | None":
        """Return what Ray Tune wants the trial in this process to go on from."""
        checkpoint = ray.tune.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return cls(**json.loads((Path(folder) / ORIGIN).read_text()))

    def write(self, folder: Path) -> None:
        """Write what Ray Tune keeps."""
        (folder / ORIGIN).write_text(json.dumps(asdict(self)))


def inherit(source: Checkpoints, own: Checkpoints, epoch: int) -> None:
    """Replace a trial's checkpoints by another's up to an epoch, while the other goes on.

    A copy that is torn because the source dropped a checkpoint is made again; one that is torn
    because this process was killed is made again when the trial is resumed.

    Raises:
        FileNotFoundError: the source has dropped what was being copied every time.
    """
    for _ in range(ATTEMPTS - 1):
        with suppress(FileNotFoundError):
            _copy(source, own, epoch)
            return
    _copy(source, own, epoch)


def _copy(source: Checkpoints, own: Checkpoints, epoch: int) -> None:
    own.clear()
    for folder in _until(source, epoch):
        target = f"{own.path}/{folder.base_name}"
        own.filesystem.create_dir(target, recursive=True)
        fs.copy_files(
            folder.path,
            target,
            source_filesystem=source.filesystem,
            destination_filesystem=own.filesystem,
        )


def _until(source: Checkpoints, epoch: int) -> list[fs.FileInfo]:
    """Return the checkpoints up to the end of an epoch; later ones where these are gone."""
    entries = source.filesystem.get_file_info(fs.FileSelector(source.path, allow_not_found=True))
    folders = [entry for entry in entries if entry.base_name.startswith(PREFIX)]
    end = f"{PREFIX}{epoch:06d}-{0:09d}-~"
    found = [entry for entry in folders if entry.base_name < end] or folders
    if not found:
        raise FileNotFoundError(f"{source.path}: no checkpoint")
    return found
