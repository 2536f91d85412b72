"""The registry of published bundles in MLflow: versions, and aliases that move in one step."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.errors import ConfigError, InputError
from cluster.storage import Storage
from cluster.tracking import DATABASE, prepare_mlflow, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"
CHALLENGER = "challenger"
BUNDLES = "bundles"
BUNDLE_TAG = "bundle"
PROMOTED_TAG = "promoted_at"
REFUSED_TAG = "refused"
ADVICE = "run `python -m retrieval CONFIG` first"


@dataclass(frozen=True)
class Standing:
    """Which bundles are in use.

    Attributes:
        champion: the bundle under that alias.
        challenger: the bundle under that one.
        champions: those that are or were champion and may be again, the last promoted first.
        refused: why bundles were taken back, by id.
    """

    champion: str | None
    challenger: str | None = None
    champions: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def previous(self) -> str | None:
        """The champion before this one."""
        return next((i for i in self.champions if i != self.champion), None)


class Registry:
    """One recommender's published versions; the registered model has the recommender's name.

    MLflow is imported when a registry is made, not with this module: it takes seconds.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.name = storage.recommender
        self.client = _client(tracking_uri(storage))

    def register(self, bundle_id: str, tags: dict[str, Any]) -> str:
        """Record a bundle as a version and return its number; a bundle has only one."""
        self._create()
        known = self.versions()
        if bundle_id in known.values():
            return next(number for number, known_id in known.items() if known_id == bundle_id)
        texts = {name: str(value) for name, value in {BUNDLE_TAG: bundle_id, **tags}.items()}
        source = f"{self.storage.root}/{self.name}/{BUNDLES}/{bundle_id}"
        version = self.client.create_model_version(self.name, source=source, tags=texts)
        return str(version.version)

    def promote(self, version: str, alias: str = CHAMPION) -> None:
        """Point an alias at a version: one transaction, the old or the new one at any moment.

        What made others take it back before is forgotten.
        """
        self._untag(version, REFUSED_TAG)
        self.client.set_registered_model_alias(self.name, alias, version)
        if alias == CHAMPION:
            self._tag(version, PROMOTED_TAG, str(time.time_ns()))
            if self.aliases().get(CHALLENGER) == version:
                self.dismiss()

    def dismiss(self) -> None:
        """Have no challenger."""
        self.client.delete_registered_model_alias(self.name, CHALLENGER)

    def roll_back(self, reason: str) -> str:
        """Make the champion before this one the champion; return the id of its bundle.

        Raises:
            InputError: there is none.
        """
        standing = self.standing()
        if standing.champion is None or standing.previous is None:
            raise InputError(f"{self.name}: no earlier champion to go back to")
        self.refuse(standing.champion, reason)
        return standing.previous

    def refuse(self, bundle_id: str, reason: str) -> None:
        """Take a bundle back from whatever it was to be; the champion before it is that again."""
        version = self.version_of(bundle_id)
        self._tag(version, REFUSED_TAG, reason)
        aliases, previous = self.aliases(), self.standing().previous
        if aliases.get(CHALLENGER) == version:
            self.dismiss()
        if aliases.get(CHAMPION) == version and previous is not None:
            self.promote(self.version_of(previous))

    def version_of(self, bundle_id: str) -> str:
        """Return the number of a bundle's version.

        Raises:
            InputError: there is none.
        """
        for number, known_id in self.versions().items():
            if known_id == bundle_id:
                return number
        raise InputError(f"{self.name}: no published bundle {bundle_id}")

    def standing(self) -> Standing:
        """Return which bundles are in use."""
        aliases, versions = self.aliases(), self._found()
        ids = {str(version.version): str(version.tags[BUNDLE_TAG]) for version in versions}
        refused = {
            str(version.tags[BUNDLE_TAG]): str(version.tags[REFUSED_TAG])
            for version in versions
            if REFUSED_TAG in version.tags
        }
        promoted = {
            str(version.tags[BUNDLE_TAG]): int(version.tags[PROMOTED_TAG])
            for version in versions
            if PROMOTED_TAG in version.tags and REFUSED_TAG not in version.tags
        }
        return Standing(
            ids.get(aliases.get(CHAMPION, "")),
            ids.get(aliases.get(CHALLENGER, "")),
            tuple(sorted(promoted, key=lambda bundle_id: -promoted[bundle_id])),
            refused,
        )

    def bundle_of(self, alias: str) -> str | None:
        """Return the id of the bundle under an alias."""
        version = self.aliases().get(alias)
        return None if version is None else self.versions()[version]

    def aliases(self) -> dict[str, str]:
        """Return version numbers by alias."""
        found = self.client.search_registered_models(f"name = '{self.name}'")
        return {} if not found else {a: str(v) for a, v in found[0].aliases.items()}

    def versions(self) -> dict[str, str]:
        """Return bundle ids by version number, oldest first."""
        return {str(version.version): version.tags[BUNDLE_TAG] for version in self._found()}

    def delete(self, version: str) -> None:
        """Forget a version."""
        self.client.delete_model_version(self.name, version)

    def _found(self) -> list[Any]:
        """Return MLflow's versions, oldest first."""
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_model_versions(f"name = '{self.name}'", page_token=token)
            found += page
            token = page.token
            if not token:
                break
        return sorted(found, key=lambda version: int(version.version))

    def _tag(self, version: str, name: str, value: str) -> None:
        self.client.set_model_version_tag(self.name, version, name, value)

    def _untag(self, version: str, name: str) -> None:
        if name in self.client.get_model_version(self.name, version).tags:
            self.client.delete_model_version_tag(self.name, version, name)

    def _create(self) -> None:
        from mlflow.exceptions import MlflowException

        if self.client.search_registered_models(f"name = '{self.name}'"):
            return
        try:
            self.client.create_registered_model(self.name)
        except MlflowException as error:
            raise ConfigError(f"recommender: {error.message}") from None


def champion(storage: Storage) -> Path:
    """Return a local folder with the bundle that serves.

    Raises:
        InputError: nothing was published yet, or the published bundle's files are gone.
    """
    where = f"{storage.root}/{storage.recommender}"
    bundle_id = existing(storage).bundle_of(CHAMPION)
    if bundle_id is None:
        raise InputError(f"{where}: no published bundle; {ADVICE}")
    name = f"{BUNDLES}/{bundle_id}"
    if not storage.exists(name):
        raise InputError(f"{where}/{name}: the champion bundle is missing; {ADVICE}")
    return storage.fetch(name)


def existing(storage: Storage) -> Registry:
    """Open the registry.

    Raises:
        InputError: nothing was published yet.
    """
    if storage.remote is None and not (Path(storage.root) / DATABASE).is_file():
        raise InputError(f"{storage.root}/{storage.recommender}: no published bundle; {ADVICE}")
    return Registry(storage)


def _client(uri: str) -> "MlflowClient":
    prepare_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)
