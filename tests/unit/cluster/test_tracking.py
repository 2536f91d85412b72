"""Where MLflow keeps runs and versions."""

from pathlib import Path

import pytest

from cluster.errors import ConfigError
from cluster.storage import Storage
from cluster.tracking import tracking_uri

SERVER = "MLFLOW_TRACKING_URI"


def test_a_local_root_holds_its_own_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SERVER, "http://elsewhere:5000")
    assert tracking_uri(Storage(str(tmp_path), "shop")) == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_remote_root_needs_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = Storage("memory://bucket", "shop")
    monkeypatch.delenv(SERVER, raising=False)
    with pytest.raises(ConfigError, match=f"memory://bucket.*{SERVER}"):
        tracking_uri(storage)
    monkeypatch.setenv(SERVER, "http://mlflow:5000")
    assert tracking_uri(storage) == "http://mlflow:5000"
