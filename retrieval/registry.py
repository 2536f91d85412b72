"""The registry of published bundles in MLflow: versions, and aliases that move in one step."""

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
        """Point an alias at a version: one transaction, the old or the new one at any moment."""
        self.client.set_registered_model_alias(self.name, alias, version)

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
        found, token = [], None
        while True:
            page = self.client.search_model_versions(f"name = '{self.name}'", page_token=token)
            found += page
            token = page.token
            if not token:
                break
        found.sort(key=lambda version: int(version.version))
        return {str(version.version): version.tags[BUNDLE_TAG] for version in found}

    def delete(self, version: str) -> None:
        """Forget a version."""
        self.client.delete_model_version(self.name, version)

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
    advice = "run `python -m retrieval CONFIG` first"
    is_local = storage.remote is None
    if is_local and not (Path(storage.root) / DATABASE).is_file():
        raise InputError(f"{where}: no published bundle; {advice}")
    bundle_id = Registry(storage).bundle_of(CHAMPION)
    if bundle_id is None:
        raise InputError(f"{where}: no published bundle; {advice}")
    name = f"{BUNDLES}/{bundle_id}"
    if not storage.exists(name):
        raise InputError(f"{where}/{name}: the champion bundle is missing; {advice}")
    return storage.fetch(name)


def _client(uri: str) -> "MlflowClient":
    prepare_mlflow()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=uri)
