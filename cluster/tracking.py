"""Where MLflow keeps runs and published versions, and how it is kept quiet."""

import os

from cluster.errors import ConfigError
from cluster.storage import Storage

DATABASE = "mlflow.db"
ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_LOGGING_LEVEL": "WARNING"}


def tracking_uri(storage: Storage) -> str:
    """Return SQLite under a local root; for a remote one the server of MLFLOW_TRACKING_URI.

    Raises:
        ConfigError: the root is remote, where no SQLite file can lie, and no server is named.
    """
    if storage.remote is None:
        return f"sqlite:///{storage.root}/{DATABASE}"
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        raise ConfigError(
            f"storage.root {storage.root!r} is remote: name an MLflow server in the environment "
            "variable MLFLOW_TRACKING_URI"
        )
    return uri


def prepare_mlflow() -> None:
    """Keep MLflow from calling home and from logging its database migrations.

    It reads the environment when it is imported: call this before.
    """
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
