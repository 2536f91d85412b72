"""What Ray Serve is told of each deployment: its size, its processes, how replicas come and go."""

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, BackpressureConfig

from cluster.session import repository_root
from serve.metrics import FOLDER_VARIABLE
from serve.topology import VERSIONS, StageDeployment

RETRY_AFTER_S = 1.0
METRICS_INTERVAL_S = 0.2
INGRESS_SLOTS = 4
"""Requests that Ray lets into a gateway, as a multiple of those that its admission lets in: what
waits in front of it would be neither seen nor refused in time."""
HEALTH_CHECK_PERIOD_S = 1.0
"""A dead replica is replaced after so long; Ray's ten seconds are ten more without an answer."""

SYNCS = 1_000
"""Replicas that report to the coordinator at a time."""


def stage_options(size: StageDeployment, metrics_folder: Path) -> dict[str, Any]:
    """Return the options of a deployment that holds stages only."""
    options: dict[str, Any] = {
        "name": size.name,
        "max_ongoing_requests": size.max_ongoing_requests,
        "max_surge_percent": size.max_surge_percent,
        "graceful_shutdown_timeout_s": size.drain_timeout_s,
        "health_check_period_s": HEALTH_CHECK_PERIOD_S,
        "ray_actor_options": {
            "num_cpus": size.num_cpus,
            "num_gpus": size.num_gpus,
            "runtime_env": {"env_vars": replica_environment(metrics_folder)},
        },
    }
    if not size.is_autoscaled:
        return {"num_replicas": size.min_replicas, **options}
    return {"autoscaling_config": _autoscaling(size), **options}


def gateway_options(size: StageDeployment, metrics_folder: Path) -> dict[str, Any]:
    """Return the options of the deployment that answers HTTP."""
    return {
        **stage_options(size, metrics_folder),
        "max_ongoing_requests": INGRESS_SLOTS * size.max_in_flight,
        "max_queued_requests": size.max_queued_requests,
        "backpressure_config": BackpressureConfig(status_code=429, retry_after_s=RETRY_AFTER_S),
    }


def versions_options() -> dict[str, Any]:
    """Return the options of the deployment that tells the others which bundle answers."""
    return {
        "name": VERSIONS,
        "num_replicas": 1,
        "max_ongoing_requests": SYNCS,
        "health_check_period_s": HEALTH_CHECK_PERIOD_S,
        "ray_actor_options": {
            "num_cpus": 0,
            "runtime_env": {"env_vars": {"PYTHONPATH": str(repository_root())}},
        },
    }


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


def _autoscaling(size: StageDeployment) -> AutoscalingConfig:
    """Return a config whose delays are the policy's: Ray Serve's own come on top of them."""
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
                policy_function="serve.autoscaling:SpikePolicy", policy_kwargs=asdict(size.limits)
            ),
        )
