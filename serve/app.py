"""Turns plain classes into Ray Serve deployments, grouped as the config says."""

import warnings
from pathlib import Path
from typing import Any

import ray.serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig

from cluster.session import repository_root
from serve.deployments import GatewayReplica, ReplicaSetup, StageReplica
from serve.metrics import FOLDER_VARIABLE
from serve.scaling import DeploymentConfig
from serve.topology import GATEWAY, StageDeployment

RETRY_AFTER_S = 1.0
METRICS_INTERVAL_S = 0.2
INGRESS_SLOTS = 4
"""Requests that Ray lets into a gateway, as a multiple of those that its admission lets in: what
waits in front of it would be neither seen nor refused in time."""


def build_app(setup: ReplicaSetup) -> Any:
    """Return the application that `ray.serve.run` deploys.

    The gateway answers HTTP; it asks the other deployments, which scale for themselves, for the
    stages that it does not hold.
    """
    layout = setup.settings.serve.layout
    handles = {size.name: _stages(setup, size) for size in layout if size.name != GATEWAY}
    gateway = next(size for size in layout if size.name == GATEWAY)
    return ingress(GatewayReplica, setup, gateway).bind(setup, **handles)


def num_cpus(setup: ReplicaSetup) -> float:
    """Return the CPUs that the application reserves to begin with."""
    layout = setup.settings.serve.layout
    return sum(deployment.min_replicas * deployment.num_cpus for deployment in layout)


def replica_environment(metrics_folder: Path) -> dict[str, str]:
    """Return what a replica's process reads at its start.

    A request is computed on one core: threads within a stage would wait for each other's
    requests, and a thread's own setting does not reach the others.
    """
    return {
        "PYTHONPATH": str(repository_root()),
        "OMP_NUM_THREADS": "1",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "serve.headers:middlewares",
        FOLDER_VARIABLE: str(metrics_folder),
    }


def _stages(setup: ReplicaSetup, size: StageDeployment) -> Any:
    options = _options(setup, size)
    return ray.serve.deployment(StageReplica, name=size.name, **options).bind(setup, size.name)


def ingress(replica: type, setup: ReplicaSetup, size: DeploymentConfig) -> Any:
    """Return the deployment that answers HTTP, of replicas of a class."""
    return ray.serve.deployment(
        ray.serve.ingress()(replica),
        name=GATEWAY,
        max_queued_requests=size.max_queued_requests,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=RETRY_AFTER_S),
        **{**_options(setup, size), "max_ongoing_requests": INGRESS_SLOTS * size.max_in_flight},
    )


def _options(setup: ReplicaSetup, size: DeploymentConfig) -> dict[str, Any]:
    options: dict[str, Any] = {
        "max_ongoing_requests": size.max_ongoing_requests,
        "ray_actor_options": {
            "num_cpus": size.num_cpus,
            "num_gpus": size.num_gpus,
            "runtime_env": {"env_vars": replica_environment(setup.metrics_folder)},
        },
    }
    if not size.is_autoscaled:
        return {"num_replicas": size.min_replicas, **options}
    return {"autoscaling_config": _autoscaling(size), **options}


def _autoscaling(size: DeploymentConfig) -> AutoscalingConfig:
    """Return a config whose delays are the policy's: Ray Serve's own come on top of them."""
    limits = {
        "target_ongoing": size.target_ongoing_requests,
        "target_utilization": size.target_utilization,
        "spare": size.spare_replicas,
        "up_delay_s": size.upscale_delay_s,
        "down_delay_s": size.downscale_delay_s,
    }
    with warnings.catch_warnings():
        # Deprecated for a variable that Ray 2.60 does not read; its default of ten seconds
        # would be how long a spike stays unnoticed.
        warnings.filterwarnings("ignore", ".*metrics_interval_s", DeprecationWarning)
        return AutoscalingConfig(
            min_replicas=size.min_replicas,
            max_replicas=size.max_replicas,
            target_ongoing_requests=size.target_ongoing_requests,
            upscale_delay_s=0.0,
            downscale_delay_s=0.0,
            look_back_period_s=size.look_back_period_s,
            metrics_interval_s=METRICS_INTERVAL_S,
            policy=AutoscalingPolicy(
                policy_function="serve.autoscaling:SpikePolicy", policy_kwargs=limits
            ),
        )
