"""The folder of published bundles: one publisher at a time, leftovers swept, old ones removed."""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.errors import InputError
from cluster.storage import Storage
from models.bundle import is_undamaged
from retrieval.registry import BUNDLES

LOCK_FILE = ".lock"
DRAFT_PREFIX = ".draft-"


class Shelf:
    """Holds the bundles of one recommender by id; the lock is the operating system's.

    A publisher that is killed leaves hidden folders, which the next one sweeps.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.folder = storage.local / BUNDLES

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other publishers out for the block.

        Raises:
            InputError: another one is at work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK_FILE).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{self.folder}: another process is publishing") from None
            if self.storage.remote is None:  # elsewhere it is a cache that readers fill, too
                self._sweep()
            yield

    @contextmanager
    def drafting(self) -> Iterator[Path]:
        """Yield an empty hidden folder beside the bundles, gone after the block."""
        with tempfile.TemporaryDirectory(prefix=DRAFT_PREFIX, dir=self.folder) as folder:
            yield Path(folder)

    def put(self, draft: Path, bundle_id: str) -> None:
        """Move a sealed draft in under its id; an undamaged one that is there already stays."""
        name = f"{BUNDLES}/{bundle_id}"
        if self.storage.exists(name) and is_undamaged(self.storage.fetch(name)):
            return
        with self.storage.publishing(name) as fresh:
            for entry in draft.iterdir():
                entry.rename(fresh / entry.name)

    def keep(self, bundle_ids: set[str]) -> None:
        """Remove every bundle but these."""
        for name in self.storage.names(BUNDLES):
            if name not in bundle_ids:
                self.storage.remove(f"{BUNDLES}/{name}")

    def _sweep(self) -> None:
        """Delete hidden folders that no bundle's link points at."""
        hidden = [entry for entry in self.folder.iterdir() if entry.name.startswith(".")]
        shown = set(self.folder.iterdir()) - set(hidden)
        used = {link.resolve() for link in shown}
        for entry in hidden:
            if entry.is_symlink():
                entry.unlink()
            elif entry.is_dir() and entry.resolve() not in used:
                shutil.rmtree(entry, ignore_errors=True)
