"""`[[serve.deployments]]`: which deployment holds which stages, and the two common layouts."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from serve.scaling import DeploymentConfig, ScalingConfig

StageName = Literal["hydrate", "retrieve", "rank", "rerank"]
PLACED: tuple[StageName, ...] = ("hydrate", "retrieve", "rank", "rerank")
"""The stages in order; filtering belongs to retrieval."""
GATEWAY = "gateway"
FUSED_GATEWAY = DeploymentConfig()
EMPTY_GATEWAY = DeploymentConfig(num_cpus=0.2)


class StageDeployment(DeploymentConfig):
    """One deployment: its stages and its size.

    The one called "gateway" answers HTTP and may hold stages too.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    stages: tuple[StageName, ...] = ()

    @classmethod
    def of(
        cls, name: str, stages: Sequence[StageName], size: DeploymentConfig
    ) -> "StageDeployment":
        """Give a deployment of that size its stages."""
        return cls(name=name, stages=tuple(stages), **size.model_dump())


Layout = tuple[StageDeployment, ...]


def fused(scaling: ScalingConfig) -> Layout:
    """Return one deployment that answers alone."""
    return (StageDeployment.of(GATEWAY, PLACED, scaling.gateway or FUSED_GATEWAY),)


def split(scaling: ScalingConfig) -> Layout:
    """Return a gateway and a deployment for each of retrieval, ranking and re-ranking."""
    return (
        StageDeployment.of(GATEWAY, (), scaling.gateway or EMPTY_GATEWAY),
        StageDeployment.of("retriever", ("hydrate", "retrieve"), scaling.retriever),
        StageDeployment.of("ranker", ("rank",), scaling.ranker),
        StageDeployment.of("reranker", ("rerank",), scaling.reranker),
    )


def custom(deployments: Layout) -> Layout:
    """Return the configured deployments, with a gateway if they name none.

    Raises:
        ValueError: not every stage is in exactly one place, or they are out of order.
    """
    for problem in _problems(deployments):
        raise ValueError(problem)
    if any(deployment.name == GATEWAY for deployment in deployments):
        return deployments
    return (StageDeployment.of(GATEWAY, (), EMPTY_GATEWAY), *deployments)


def stages_of(layout: Layout, name: str) -> tuple[StageName, ...]:
    """Return the stages that a deployment holds."""
    return next(deployment.stages for deployment in layout if deployment.name == name)


def _problems(deployments: Layout) -> Iterator[str]:
    names = [deployment.name for deployment in deployments]
    for name in names:
        if names.count(name) > 1:
            yield f"two deployments are called {name!r}"
    for deployment in deployments:
        if not deployment.stages and deployment.name != GATEWAY:
            yield f"deployment {deployment.name!r} has no stages"
    placed = tuple(itertools.chain(*(deployment.stages for deployment in deployments)))
    if placed != PLACED:
        yield (
            f"the stages are {', '.join(placed) or 'none'}; each of {', '.join(PLACED)} "
            "must be in one deployment, in this order"
        )
