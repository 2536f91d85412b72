"""Looks into the registry for the coordinator; the only part of a service that loads MLflow."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cluster.errors import InputError
from cluster.storage import Storage
from cluster.tracking import DATABASE
from models.bundle import Bundle, verify_content
from retrieval.registry import BUNDLES, Registry, Standing
from serve.versions.failures import RETRY_S
from serve.versions.sighting import Sighting

logger = logging.getLogger("ray.serve")


class UnreachableError(Exception):
    """The registry cannot be read; says why in a line."""


class RegistryWatch:
    """Reads the registry and tries the files of what is to answer.

    Args:
        storage: of the recommender.
        clock: seconds, never falling.
    """

    def __init__(self, storage: Storage, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.storage = storage
        self._clock = clock
        self._registry: Registry | None = None
        self._revision: object = None
        self._standing: Standing | None = None
        self._sound: set[str] = set()
        self._unsound: dict[str, tuple[str, float]] = {}

    def look(self) -> Sighting:
        """Return what is to be used, and what of it cannot be.

        Raises:
            UnreachableError: the registry does not answer.
        """
        standing = self._read()
        for bundle_id in (standing.champion, standing.challenger):
            if bundle_id is not None:
                self._try_out(bundle_id)
        unsound = {bundle_id: reason for bundle_id, (reason, _) in self._unsound.items()}
        return Sighting(standing, unsound)

    def refuse(self, bundle_id: str, reason: str) -> None:
        """Take a bundle back in the registry.

        Raises:
            UnreachableError: the registry does not answer.
        """
        with _reaching():
            self._registry = self._registry or Registry(self.storage)
            self._registry.refuse(bundle_id, reason)

    def _read(self) -> Standing:
        """Return the registry's state, as it was where its file has not changed."""
        with _reaching():
            revision = self._file_revision()
            if self._standing is None or revision is None or revision != self._revision:
                self._standing = None
                self._registry = self._registry or Registry(self.storage)
                self._standing = self._registry.standing()
                self._revision = revision
        return self._standing

    def _file_revision(self) -> object:
        """Return what changes with every write; None for a registry that is no local file."""
        if self.storage.remote is not None:
            return None
        facts = (Path(self.storage.root) / DATABASE).stat()
        return facts.st_ino, facts.st_mtime_ns, facts.st_size

    def _try_out(self, bundle_id: str) -> None:
        """Compare a bundle's files with its manifest, again after a while if they differ."""
        now_s = self._clock()
        if bundle_id in self._sound or now_s < self._unsound.get(bundle_id, ("", 0.0))[1]:
            return
        try:
            self._check(bundle_id)
        except (InputError, OSError) as error:
            if bundle_id not in self._unsound:
                logger.warning("bundle %s cannot be used: %s", bundle_id, error)
            self._unsound[bundle_id] = str(error), now_s + RETRY_S
        else:
            self._unsound.pop(bundle_id, None)
            self._sound.add(bundle_id)

    def _check(self, bundle_id: str) -> None:
        name = f"{BUNDLES}/{bundle_id}"
        if not self.storage.exists(name):
            raise InputError(f"{self.storage.root}/{self.storage.recommender}/{name}: missing")
        folder = self.storage.fetch(name)
        verify_content(folder)
        recommender = Bundle(folder).schema.recommender
        if recommender != self.storage.recommender:
            raise InputError(f"{folder}: a bundle of recommender {recommender!r}")


@contextmanager
def _reaching() -> Iterator[None]:
    """Give the registry's errors one name for the block."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, InputError, OSError) as error:
        raise UnreachableError(str(error).partition("\n")[0]) from error
