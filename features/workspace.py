"""Scratch folders of one preparation: written whole by one task, read by any other."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import fs

from cluster.storage import Storage

PREFIX = ".preparing"


class Workspace:
    """Intermediate files under the storage, gone when the preparation ends.

    With a local root, tasks read and write the same files: on a cluster of several nodes such a
    root must be a folder that all of them mount (NFS and the like). With a remote root every task
    works on copies in its host's temporary folder and exchanges them through the remote storage;
    those copies stay on hosts other than the driver's until their temporary folder is emptied.
    """

    def __init__(self, storage: Storage, name: str) -> None:
        self.storage = storage
        self.name = name
        self.local = storage.local / name

    @classmethod
    @contextmanager
    def open(cls, storage: Storage) -> Iterator["Workspace"]:
        """Make a workspace for the block, and remove what a killed preparation left here."""
        for folder in storage.local.glob(f"{PREFIX}-*"):
            if _is_abandoned(folder.name):
                shutil.rmtree(folder, ignore_errors=True)
        workspace = cls(storage, f"{PREFIX}-{socket.gethostname()}-{os.getpid()}")
        workspace.local.mkdir(parents=True, exist_ok=True)
        try:
            yield workspace
        finally:
            workspace.remove()

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Yield an empty folder that appears as `name` when the block ends without error."""
        target = self.local / name
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        try:
            yield fresh
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        shutil.rmtree(target, ignore_errors=True)  # of an earlier attempt at the same task
        fresh.rename(target)
        if self.storage.remote is not None:
            filesystem, _ = self.storage.remote
            filesystem.create_dir(self._remote_path(name), recursive=True)
            fs.copy_files(str(target), self._remote_path(name), destination_filesystem=filesystem)

    def reading(self, name: str) -> Path:
        """Return a local path of a written folder."""
        path = self.local / name
        if self.storage.remote is not None and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
            filesystem, _ = self.storage.remote
            fs.copy_files(self._remote_path(name), str(fresh), source_filesystem=filesystem)
            try:
                fresh.rename(path)
            except OSError:  # another task of this host was faster
                shutil.rmtree(fresh)
        return path

    def remove(self) -> None:
        """Delete everything that was written."""
        shutil.rmtree(self.local, ignore_errors=True)
        if self.storage.remote is not None:
            filesystem, _ = self.storage.remote
            if filesystem.get_file_info(self._remote_path("")).type == fs.FileType.Directory:
                filesystem.delete_dir(self._remote_path(""))

    def _remote_path(self, name: str) -> str:
        assert self.storage.remote is not None
        _, base = self.storage.remote
        return f"{base}/{self.storage.recommender}/{self.name}/{name}".rstrip("/")


def _is_abandoned(name: str) -> bool:
    """Tell whether a workspace's process on this host is gone."""
    host, _, pid = name.removeprefix(f"{PREFIX}-").rpartition("-")
    return host == socket.gethostname() and pid.isdigit() and not Path(f"/proc/{pid}").exists()
