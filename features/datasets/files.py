"""Finding a data set's files, and naming what is not there."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from cluster.errors import InputError
from features.config import DatasetConfig


def dataset_folder(config: DatasetConfig) -> Path:
    """Return the folder of the data set.

    Raises:
        InputError: there is no such folder.
    """
    assert config.path is not None
    folder = Path(config.path)
    if not folder.exists():
        raise InputError(f"dataset.path: no such folder: {folder}")
    if not folder.is_dir():
        raise InputError(f"dataset.path: is a file, not a folder: {folder}")
    return folder


def required_files(folder: Path, pattern: str) -> list[Path]:
    """Return the files that match, sorted by name.

    Raises:
        InputError: none does.
    """
    files = sorted(folder.glob(pattern))
    if not files:
        raise InputError(f"{folder / pattern}: missing file")
    return files


def only_file(folder: Path, pattern: str) -> Path:
    """Return the file that matches.

    Raises:
        InputError: none does, or several do.
    """
    first, *others = required_files(folder, pattern)
    if others:
        raise InputError(f"{folder}: several releases: {first.name} and {others[0].name}")
    return first


def identity_of(files: Iterable[Path]) -> Sequence[tuple[str, int, int]]:
    """Return name, size and modification time (ns) of files."""
    stats = [(file, file.stat()) for file in files]
    return [(str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats]
