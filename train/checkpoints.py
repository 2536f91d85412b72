"""Checkpoints of one training run: folders whose content is proven before it is trusted."""

import hashlib
import io
import json
import logging
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import torch
from pyarrow import fs

from cluster.errors import InputError
from cluster.storage import Storage

STATE = "state.pt"
SEAL = "checkpoint.json"
PREFIX = "checkpoint_"
NUM_KEPT = 2

State = dict[str, Any]
logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints under one folder; names sort by progress.

    Args:
        filesystem: where the folder lies.
        path: the folder, on that file system.
        identity: what the training is made from, flat; a checkpoint of another is refused.

    A checkpoint holds `state.pt` and a seal with its size, hash and identity. A torn one is
    recognised by them and the one before is used.
    """

    def __init__(self, filesystem: fs.FileSystem, path: str, identity: dict[str, str]) -> None:
        self.filesystem = filesystem
        self.path = path
        self.identity = identity

    @classmethod
    def of(cls, storage: Storage, name: str, identity: dict[str, str]) -> "Checkpoints":
        """Open the run folder `name` of a recommender's storage."""
        if storage.remote is None:
            return cls(fs.LocalFileSystem(), str(storage.local / name), identity)
        filesystem, base = storage.remote
        return cls(filesystem, f"{base}/{storage.recommender}/{name}", identity)

    def write(self, state: State, folder: Path) -> None:
        """Write a checkpoint's files into a local folder, the seal last."""
        torch.save(state, folder / STATE)
        content = (folder / STATE).read_bytes()
        seal = {**_proof(content), "identity": self.identity}
        (folder / SEAL).write_text(json.dumps(seal, indent=1))

    def save(self, state: State) -> None:
        """Add a checkpoint and drop all but the last two."""
        name = checkpoint_name(state)
        self.filesystem.create_dir(self.path, recursive=True)
        with tempfile.TemporaryDirectory() as folder:
            self.write(state, Path(folder))
            partial = f"{self.path}/.{name}"
            self.filesystem.create_dir(partial)
            fs.copy_files(folder, partial, destination_filesystem=self.filesystem)
        self.filesystem.move(partial, f"{self.path}/{name}")
        for old in self._folders()[:-NUM_KEPT]:
            self.filesystem.delete_dir(old)

    def latest(self) -> State | None:
        """Load the newest intact checkpoint; None where there is none.

        Raises:
            InputError: it belongs to another training.
        """
        for folder in reversed(self._folders()):
            seal, content = self._read(f"{folder}/{SEAL}"), self._read(f"{folder}/{STATE}")
            if seal is None or content is None or not _is_proven(seal, content):
                logger.warning("%s: damaged checkpoint, using the one before", folder)
                continue
            self._refuse_foreign(folder, json.loads(seal)["identity"])
            state: State = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
            return state
        return None

    def clear(self) -> None:
        """Drop the run's folder."""
        if self.filesystem.get_file_info(self.path).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path)

    def _folders(self) -> list[str]:
        entries = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        folders = (entry for entry in entries if entry.type == fs.FileType.Directory)
        return sorted(entry.path for entry in folders if entry.base_name.startswith(PREFIX))

    def _read(self, path: str) -> bytes | None:
        try:
            with self.filesystem.open_input_stream(path) as stream:
                content: bytes = stream.read()
        except FileNotFoundError:
            return None
        return content

    def _refuse_foreign(self, folder: str, identity: dict[str, str]) -> None:
        for key in sorted(self.identity.keys() | identity.keys()):
            theirs, ours = identity.get(key), self.identity.get(key)
            if theirs != ours:
                raise InputError(
                    f"{folder}: checkpoint of another training: {key} is {theirs!r}, not {ours!r}"
                )


def checkpoint_name(state: State) -> str:
    """Return a name that sorts by progress and never repeats."""
    position = state["position"]
    return f"{PREFIX}{position['epoch']:06d}-{position['step']:09d}-{uuid4().hex[:8]}"


def _proof(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _is_proven(seal: bytes, content: bytes) -> bool:
    try:
        facts = json.loads(seal)
    except (json.JSONDecodeError, UnicodeDecodeError):
        return False
    proof = _proof(content)
    return isinstance(facts, dict) and {key: facts.get(key) for key in proof} == proof
