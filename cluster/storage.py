"""Artifacts under one root: folders that appear whole or not at all, local or remote."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import fsspec
from pyarrow import fs

from cluster.errors import ConfigError

MANIFEST = "manifest.json"


class Storage:
    """Named artifact folders of one recommender, each complete once its manifest exists.

    Args:
        root: a path, or a URI that pyarrow or fsspec opens (`s3://`, `gs://`, `abfs://`).
        recommender: the folder under the root that holds this recommender's artifacts.

    A remote artifact is read through a local copy, because models and shards are memory-mapped.
    """

    def __init__(self, root: str, recommender: str) -> None:
        is_remote = urlparse(root).scheme not in ("", "file")
        self.root = root if is_remote else str(_local_path(root))
        self.recommender = recommender
        self.remote: tuple[fs.FileSystem, str] | None = open_folder(root) if is_remote else None
        base = _cache_path(root) if is_remote else Path(self.root)
        self.local = base / recommender
        """Folder of local copies; for a local root, the artifacts themselves."""

    def __reduce__(self) -> tuple[type["Storage"], tuple[str, str]]:
        return Storage, (self.root, self.recommender)

    def exists(self, name: str) -> bool:
        """Tell whether the artifact was published."""
        if self.remote is None:
            return (self.local / name / MANIFEST).is_file()
        filesystem, base = self.remote
        path = f"{base}/{self.recommender}/{name}/{MANIFEST}"
        return bool(filesystem.get_file_info(path).type == fs.FileType.File)

    def manifest(self, name: str) -> dict[str, Any] | None:
        """Read an artifact's manifest; None where there is no such artifact."""
        if not self.exists(name):
            return None
        manifest: dict[str, Any] = json.loads((self.fetch(name) / MANIFEST).read_text())
        return manifest

    def fetch(self, name: str) -> Path:
        """Return a local folder with the artifact, copied from the remote where needed."""
        path = self.local / name
        if self.remote is None:
            return path
        filesystem, base = self.remote
        source = f"{base}/{self.recommender}/{name}"
        remote_manifest = filesystem.open_input_stream(f"{source}/{MANIFEST}").read()
        if not (path / MANIFEST).is_file() or (path / MANIFEST).read_bytes() != remote_manifest:
            with _replacing(path) as fresh:
                fs.copy_files(source, str(fresh), source_filesystem=filesystem)
        return path

    @contextmanager
    def publishing(self, name: str) -> Iterator[Path]:
        """Yield an empty folder that becomes the artifact when the block ends without error.

        The block writes `manifest.json` last. A kill at any moment leaves the artifact as it was.
        """
        path = self.local / name
        with _replacing(path) as fresh:
            yield fresh
            assert (fresh / MANIFEST).is_file(), f"{name} has no {MANIFEST}"
        if self.remote is not None:
            self._upload(path, name)

    def names(self, parent: str) -> list[str]:
        """Return the names of the folders under `parent`, hidden ones left out."""
        if self.remote is None:
            folder = self.local / parent
            found = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        else:
            filesystem, base = self.remote
            path = f"{base}/{self.recommender}/{parent}"
            selector = fs.FileSelector(path, allow_not_found=True)
            found = [info.base_name for info in filesystem.get_file_info(selector)]
        return sorted(name for name in found if not name.startswith("."))

    def remove(self, name: str) -> None:
        """Delete an artifact; it stops existing before its files go."""
        path = self.local / name
        files = path.resolve()
        if path.is_symlink():
            path.unlink()
        shutil.rmtree(files, ignore_errors=True)
        if self.remote is None:
            return
        filesystem, base = self.remote
        target = f"{base}/{self.recommender}/{name}"
        if self.exists(name):
            filesystem.delete_file(f"{target}/{MANIFEST}")
        if filesystem.get_file_info(target).type != fs.FileType.NotFound:
            filesystem.delete_dir(target)

    def _upload(self, path: Path, name: str) -> None:
        assert self.remote is not None
        filesystem, base = self.remote
        target = f"{base}/{self.recommender}/{name}"
        for file in sorted(path.rglob("*"), key=lambda file: file.name == MANIFEST):
            if file.is_file():
                destination = f"{target}/{file.relative_to(path).as_posix()}"
                filesystem.create_dir(destination.rpartition("/")[0], recursive=True)
                fs.copy_files(str(file), destination, destination_filesystem=filesystem)


def content_hash(value: object) -> str:
    """Hash a JSON-serialisable value: the identity of what an artifact was made from."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def open_folder(uri: str, key: str = "storage.root") -> tuple[fs.FileSystem, str]:
    """Open a path, or a URI with pyarrow, or with fsspec where pyarrow does not know the scheme.

    Args:
        uri: of a folder, which need not exist.
        key: what an error calls it.

    Raises:
        ConfigError: nothing opens it.
    """
    if urlparse(uri).scheme in ("", "file"):
        return fs.LocalFileSystem(), str(_local_path(uri))
    try:
        filesystem, base = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError):
        filesystem, base = _open_with_fsspec(uri, key)
    return filesystem, base.rstrip("/")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Fill a hidden folder, then point the link `path` at it in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    fresh.chmod(0o755)
    try:
        yield fresh
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    old = path.resolve() if path.is_symlink() else None
    link = fresh.with_name(f"{fresh.name}-link")
    link.symlink_to(fresh.name)
    link.replace(path)
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _local_path(root: str) -> Path:
    return Path(urlparse(root).path if root.startswith("file:") else root).absolute()


def _cache_path(root: str) -> Path:
    digest = hashlib.sha256(root.encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / "millrace" / digest


def _open_with_fsspec(uri: str, key: str) -> tuple[fs.FileSystem, str]:
    try:
        opened, base = fsspec.url_to_fs(uri)
    except (ImportError, OSError, ValueError) as error:
        raise ConfigError(f"{key}: cannot open {uri!r}: {error}") from None
    return fs.PyFileSystem(fs.FSSpecHandler(opened)), str(base)
