"""Checkpoints of one training run: folders whose content is proven before it is trusted."""

import logging
import math
from uuid import uuid4

from pyarrow import fs

from cluster.errors import InputError
from cluster.storage import Storage
from train.identity import difference
from train.peers import Peers
from train.proven_files import ProvenFiles
from train.restoring import restore_part, restore_state
from train.seal import NAME, Seal
from train.snapshot import Snapshot
from train.state import State

PREFIX = "checkpoint_"
NUM_KEPT = 2

logger = logging.getLogger(__name__)


class Checkpoints:
    """The checkpoints under one folder; names sort by progress.

    Args:
        filesystem: where the folder lies.
        path: the folder, on that file system.
        identity: what the training is made from, flat; a checkpoint of another is refused.

    A checkpoint holds every worker's share of the state and, written last, a seal with the sizes
    and hashes of all its files. A torn one is recognised by it and the one before is used. The
    newest are kept, and those of the epochs that they name as the best.
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

    def write(self, name: str, snapshot: Snapshot, peers: Peers) -> None:
        """Write a checkpoint; every worker does, in any thread, and waits for the others."""
        folder, files = f"{self.path}/{name}", ProvenFiles(self.filesystem)
        snapshot.write(files, folder, peers)
        proofs = peers.all(files.proofs)
        if peers.rank == 0:
            proven = {file: proof for part in proofs for file, proof in part.items()}
            seal = Seal(self.identity, peers.count, snapshot.best_epoch, proven)
            with self.filesystem.open_output_stream(f"{folder}/{NAME}") as stream:
                stream.write(seal.dump())
            self._prune()
        peers.all(None)

    def latest(self, state: State, peers: Peers) -> State | None:
        """Load the newest checkpoint that every worker finds intact; None where there is none.

        Args:
            state: a part of it, whose tensors are read in place; the rest is made.
            peers: the workers; all of them call this.

        Raises:
            InputError: it belongs to another training.
        """
        name, has_best = self._newest_intact(peers)
        if name is None:
            return None
        seal, files = self._known_seal(name), ProvenFiles(self.filesystem)
        rank = peers.rank % seal.num_workers
        restored = restore_state(files, f"{self.path}/{name}", state, rank)
        if not has_best:
            logger.warning("%s/%s: the best epoch is lost, the next one counts", self.path, name)
            restored["position"] |= {"best_epoch": 0, "best_value": -math.inf}
        return restored

    def recall(self, epoch: int, state: State, peers: Peers) -> None:
        """Read a part of the state at the end of an epoch, in place.

        Raises:
            InputError: that checkpoint is gone or damaged.
        """
        name = peers.first(self._end_of(epoch, self._seals()))
        if name is None or not self._is_intact(name, peers):
            raise InputError(f"{self.path}: no intact checkpoint of epoch {epoch}")
        restore_part(ProvenFiles(self.filesystem), f"{self.path}/{name}", state)

    def newest_seal(self) -> Seal | None:
        """Return the seal of the newest checkpoint, intact or not; None where there is none."""
        seals = self._seals()
        return seals[max(seals)] if seals else None

    def forget_note(self, file: str) -> None:
        """Drop a file that others have put beside the checkpoints."""
        path = f"{self.path}/{file}"
        if self.filesystem.get_file_info(path).type == fs.FileType.File:
            self.filesystem.delete_file(path)

    def clear(self) -> None:
        """Drop the run's folder."""
        if self.filesystem.get_file_info(self.path).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path)

    def _newest_intact(self, peers: Peers) -> tuple[str | None, bool]:
        """Return the newest that is intact with the best epoch that it names, else without."""
        without_best = None
        for name in peers.first(self._names()[::-1]):
            if not self._is_intact(name, peers):
                logger.warning("%s/%s: damaged checkpoint, using the one before", self.path, name)
                continue
            seal = self._known_seal(name)
            self._refuse_foreign(name, seal.identity)
            best = peers.first(self._end_of(seal.best_epoch, self._seals()))
            if seal.best_epoch == 0 or best == name or (best and self._is_intact(best, peers)):
                return name, True
            without_best = without_best or name
        return without_best, False

    def _is_intact(self, name: str, peers: Peers) -> bool:
        """Prove a checkpoint, every worker a part; what one of them cannot read is damaged."""
        return all(peers.all(self._is_proven(name, peers.rank, peers.count)))

    def _is_proven(self, name: str, part: int, num_parts: int) -> bool:
        seal = self._seal(name)
        if seal is None:
            return False
        files = ProvenFiles(self.filesystem)
        mine = sorted(seal.files)[part::num_parts]
        return all(files.prove(f"{self.path}/{name}/{file}") == seal.files[file] for file in mine)

    def _prune(self) -> None:
        """Drop all but the newest that are sealed, and the best epochs that these name."""
        seals = self._seals()
        kept: set[str | None] = set(sorted(seals)[-NUM_KEPT:])
        kept |= {self._end_of(seals[name].best_epoch, seals) for name in kept if name}
        for name in self._names():
            if name not in kept:
                self.filesystem.delete_dir(f"{self.path}/{name}")

    def _end_of(self, epoch: int, seals: dict[str, Seal]) -> str | None:
        """Return the checkpoint at the end of an epoch; resumed trainings end with the same."""
        ends = [name for name in seals if name.startswith(_prefix(epoch, 0))]
        return max(ends) if epoch and ends else None

    def _names(self) -> list[str]:
        entries = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        folders = (entry for entry in entries if entry.type == fs.FileType.Directory)
        return sorted(entry.base_name for entry in folders if entry.base_name.startswith(PREFIX))

    def _seals(self) -> dict[str, Seal]:
        seals = {name: self._seal(name) for name in self._names()}
        return {name: seal for name, seal in seals.items() if seal is not None}

    def _seal(self, name: str) -> Seal | None:
        try:
            with self.filesystem.open_input_stream(f"{self.path}/{name}/{NAME}") as stream:
                return Seal.parse(stream.read())
        except OSError:
            return None

    def _known_seal(self, name: str) -> Seal:
        seal = self._seal(name)
        assert seal is not None, name
        return seal

    def _refuse_foreign(self, name: str, identity: dict[str, str]) -> None:
        found = difference(identity, self.identity)
        if found:
            raise InputError(f"{self.path}/{name}: checkpoint of another training: {found}")


def checkpoint_name(state: State) -> str:
    """Return a name that sorts by progress and never repeats."""
    position = state["position"]
    return f"{_prefix(position['epoch'], position['step'])}{uuid4().hex[:8]}"


def _prefix(epoch: int, step: int) -> str:
    return f"{PREFIX}{epoch:06d}-{step:09d}-"
