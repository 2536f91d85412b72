"""Turns plain classes into Ray Serve deployments, in one of two topologies."""

from pathlib import Path
from typing import Any

import ray.serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from cluster.session import repository_root
from serve.deployments import (
    GatewayReplica,
    RankerReplica,
    ReplicaSetup,
    RerankerReplica,
    RetrieverReplica,
)
from serve.metrics import FOLDER_VARIABLE
from serve.scaling import DeploymentConfig, ScalingConfig

FUSED_GATEWAY = DeploymentConfig()
SPLIT_GATEWAY = DeploymentConfig(num_cpus=0.2)
RETRY_AFTER_S = 1.0


def build_app(setup: ReplicaSetup) -> Any:
    """Return the application that `ray.serve.run` deploys.

    "fused": one deployment answers alone. "split": the gateway asks a deployment for each of
    retrieval, ranking and re-ranking, which scale for themselves.
    """
    scaling = setup.settings.serve.scaling
    if setup.settings.serve.topology == "fused":
        return _gateway(setup, scaling.gateway or FUSED_GATEWAY).bind(setup)
    gateway = _gateway(setup, scaling.gateway or SPLIT_GATEWAY)
    return gateway.bind(setup, *_stages(setup, scaling))


def num_cpus(setup: ReplicaSetup) -> float:
    """Return the CPUs that the application reserves to begin with."""
    serve = setup.settings.serve
    if serve.topology == "fused":
        deployments = [serve.scaling.gateway or FUSED_GATEWAY]
    else:
        gateway = serve.scaling.gateway or SPLIT_GATEWAY
        scaling = serve.scaling
        deployments = [gateway, scaling.retriever, scaling.ranker, scaling.reranker]
    return sum(deployment.min_replicas * deployment.num_cpus for deployment in deployments)


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


def _stages(setup: ReplicaSetup, scaling: ScalingConfig) -> list[Any]:
    classes = (
        (RetrieverReplica, "retriever", scaling.retriever),
        (RankerReplica, "ranker", scaling.ranker),
        (RerankerReplica, "reranker", scaling.reranker),
    )
    return [
        ray.serve.deployment(stage, name=name, **_options(setup, size)).bind(setup)
        for stage, name, size in classes
    ]


def _gateway(setup: ReplicaSetup, size: DeploymentConfig) -> Any:
    return ray.serve.deployment(
        ray.serve.ingress()(GatewayReplica),
        name="gateway",
        max_queued_requests=size.max_queued_requests,
        backpressure_config=BackpressureConfig(status_code=429, retry_after_s=RETRY_AFTER_S),
        **_options(setup, size),
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
    return AutoscalingConfig(
        min_replicas=size.min_replicas,
        max_replicas=size.max_replicas,
        target_ongoing_requests=size.target_ongoing_requests,
        upscale_delay_s=size.upscale_delay_s,
        downscale_delay_s=size.downscale_delay_s,
        look_back_period_s=size.look_back_period_s,
    )
