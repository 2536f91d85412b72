"""Files on any storage, as torch.distributed.checkpoint writes and reads them, with proofs."""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any

from pyarrow import fs
from torch.distributed.checkpoint.filesystem import FileSystemBase

BLOCK_BYTES = 8 * 2**20

Proof = dict[str, Any]
"""`bytes` and `sha256` of a file."""


class ProvenFiles(FileSystemBase):
    """Files of a pyarrow file system; what is written is hashed on its way.

    Args:
        filesystem: where they are.
    """

    def __init__(self, filesystem: fs.FileSystem) -> None:
        self.filesystem = filesystem
        self.proofs: dict[str, Proof] = {}
        """Of every file that was written, by its name."""

    @contextmanager
    def create_stream(self, path: str | PathLike[str], mode: str) -> Iterator[io.IOBase]:
        """Open a file to be read ("rb") or written ("wb")."""
        if mode == "rb":
            with self.filesystem.open_input_file(fspath(path)) as stream:
                yield stream
            return
        with self.filesystem.open_output_stream(fspath(path)) as stream:
            hashed = HashedStream(stream)
            yield hashed
        self.proofs[_name(path)] = hashed.proof

    def prove(self, path: str) -> Proof | None:
        """Read a file and return its proof; None where it cannot be read."""
        digest, size = hashlib.sha256(), 0
        try:
            with self.filesystem.open_input_stream(path) as stream:
                while block := stream.read(BLOCK_BYTES):
                    digest.update(block)
                    size += len(block)
        except OSError:
            return None
        return {"bytes": size, "sha256": digest.hexdigest()}

    def concat_path(self, path: str | PathLike[str], suffix: str) -> str:
        """Return the path of a file in a folder."""
        return f"{fspath(path)}/{suffix}"

    def init_path(self, path: str | PathLike[str]) -> str:
        """Return the path."""
        return fspath(path)

    def mkdir(self, path: str | PathLike[str]) -> None:
        """Make a folder and those above it."""
        self.filesystem.create_dir(fspath(path), recursive=True)

    def rename(self, path: str | PathLike[str], new_path: str | PathLike[str]) -> None:
        """Rename a file, with its proof."""
        self.filesystem.move(fspath(path), fspath(new_path))
        self.proofs[_name(new_path)] = self.proofs.pop(_name(path))

    def exists(self, path: str | PathLike[str]) -> bool:
        """Tell whether there is such a file."""
        return bool(self.filesystem.get_file_info(fspath(path)).type != fs.FileType.NotFound)

    def rm_file(self, path: str | PathLike[str]) -> None:
        """Delete a file."""
        self.filesystem.delete_file(fspath(path))

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:
        """Accept every path."""
        return True


@dataclass
class HashedStream(io.RawIOBase):
    """Passes on what is written and hashes it."""

    stream: Any

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256()
        self.size = 0

    @property
    def proof(self) -> Proof:
        """Of what was written so far."""
        return {"bytes": self.size, "sha256": self.digest.hexdigest()}

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Hash and pass on."""
        view = memoryview(data)
        self.digest.update(view)
        self.stream.write(view)
        self.size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Return how much was written."""
        return self.size


def _name(path: str | PathLike[str]) -> str:
    return fspath(path).rpartition("/")[2]
