"""Turns plain classes into Ray Serve deployments, grouped as the config says."""

from pathlib import Path
from tempfile import gettempdir
from typing import Any

import ray.serve

from serve.config import ServeSettings
from serve.deployments import GatewayReplica, ReplicaSetup, StageReplica
from serve.options import gateway_options, stage_options, versions_options
from serve.preparation import prepare
from serve.topology import GATEWAY, StageDeployment
from serve.versions.replica import VersionsReplica


def build_app(setup: ReplicaSetup) -> Any:
    """Return the application that `ray.serve.run` deploys.

    The gateway answers HTTP; it asks the other deployments, which scale for themselves, for the
    stages that it does not hold. One more replica tells all of them which bundle answers.
    """
    layout = setup.settings.serve.layout
    versions = ray.serve.deployment(VersionsReplica, **versions_options()).bind(setup)
    handles = {size.name: _stages(setup, size, versions) for size in layout if size.name != GATEWAY}
    gateway = next(size for size in layout if size.name == GATEWAY)
    return ingress(GatewayReplica, setup, gateway).bind(setup, versions, **handles)


def build(settings: dict[str, Any]) -> Any:
    """Return the application of a Serve config file: its `import_path`; its `args` are settings.

    The champion of this moment answers, from an online store filled for it.
    """
    checked = ServeSettings.model_validate(settings)
    folder = metrics_folder(checked.recommender)
    return build_app(ReplicaSetup(checked, prepare(checked).id, folder))


def metrics_folder(recommender: str) -> Path:
    """Return where a host's replicas keep their counts when no launching process owns them."""
    return Path(gettempdir()) / f"millrace-metrics-{recommender}"


def _stages(setup: ReplicaSetup, size: StageDeployment, versions: Any) -> Any:
    options = stage_options(size, setup.metrics_folder)
    return ray.serve.deployment(StageReplica, **options).bind(setup, size.name, versions)


def ingress(replica: type, setup: ReplicaSetup, size: StageDeployment) -> Any:
    """Return the deployment that answers HTTP, of replicas of a class."""
    options = gateway_options(size, setup.metrics_folder)
    return ray.serve.deployment(ray.serve.ingress()(replica), **options)
