"""The Serve config file, which `serve deploy` takes: the same application, described as YAML."""

import json
from pathlib import Path
from typing import Any

import yaml
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from cluster import haproxy
from cluster.errors import InputError
from cluster.session import ENVIRONMENT, repository_root
from serve.app import metrics_folder
from serve.config import ServeSettings
from serve.options import gateway_options, stage_options, versions_options
from serve.topology import GATEWAY, StageDeployment

IMPORT_PATH = "serve.app:build"
FOR_SERVING = ("RAY_SERVE_", "RAY_worker_", "MILLRACE_")
"""How the names of variables begin that matter here."""
HEADER = """\
# Written by `python -m serve CONFIG --write-serve-config`; `serve deploy FILE` takes it.
# Every node needs this repository, at the PYTHONPATH below or through a working_dir of the
# runtime_env (a URI), and these variables before Ray starts on it:
{variables}
"""


def write(settings: ServeSettings, path: Path, *, host: str, port: int) -> None:
    """Write a service's Serve config file.

    Raises:
        InputError: the path cannot be written.
    """
    variables = "\n".join(f"#   {name}={value}" for name, value in _variables().items())
    text = yaml.safe_dump(document(settings, host=host, port=port), sort_keys=False, width=100)
    try:
        path.write_text(f"{HEADER.format(variables=variables)}\n{text}", encoding="utf-8")
    except OSError as error:
        raise InputError(f"--write-serve-config {path}: {error.strerror}") from None


def document(settings: ServeSettings, *, host: str, port: int) -> dict[str, Any]:
    """Return what the file holds: Ray Serve's `ServeDeploySchema` as plain values.

    The settings go along as the arguments of the application; the sizes of the deployments stand
    beside them, where those who run the cluster look for them, and win.
    """
    return {
        "proxy_location": "EveryNode",
        "http_options": {"host": host, "port": port},
        "logging_config": {"enable_access_log": False},
        "applications": [
            {
                "name": settings.recommender,
                "route_prefix": "/",
                "import_path": IMPORT_PATH,
                "runtime_env": {"env_vars": {"PYTHONPATH": str(repository_root())}},
                "args": _arguments(settings),
                "deployments": [
                    *(_deployment(_options(settings, size)) for size in settings.serve.layout),
                    _deployment(versions_options()),
                ],
            }
        ],
    }


def _arguments(settings: ServeSettings) -> dict[str, Any]:
    """Return the settings as plain values; a folder's path holds from wherever it is read."""
    values: dict[str, Any] = json.loads(settings.model_dump_json(exclude_unset=True))
    root = settings.storage.root
    return {**values, "storage": {"root": root if "://" in root else str(Path(root).resolve())}}


def _options(settings: ServeSettings, size: StageDeployment) -> dict[str, Any]:
    options_of = gateway_options if size.name == GATEWAY else stage_options
    return options_of(size, metrics_folder(settings.recommender))


def _deployment(options: dict[str, Any]) -> dict[str, Any]:
    return {"name": options.pop("name"), **{k: _plain(v) for k, v in options.items()}}


def _plain(value: object) -> object:
    """Return Ray Serve's config objects as the fields that were set."""
    if isinstance(value, AutoscalingConfig | BackpressureConfig):
        return json.loads(value.model_dump_json(exclude_unset=True))
    return value


def _variables() -> dict[str, str]:
    """Return what Ray reads for serving, with what makes it start HAProxy under its guard."""
    known = {**ENVIRONMENT, **haproxy.environment()}
    return {name: value for name, value in known.items() if name.startswith(FOR_SERVING)}
