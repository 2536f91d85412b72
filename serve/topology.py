"""`[[serve.deployments]]`: which deployment holds which stages, and the two common layouts."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import Field

from serve.scaling import DeploymentConfig, ScalingConfig

StageName = Literal["hydrate", "retrieve", "rank", "rerank"]
PLACED: tuple[StageName, ...] = ("hydrate", "retrieve", "rank", "rerank")
"""The stages in order; filtering belongs to retrieval."""
GATEWAY = "gateway"
VERSIONS = "versions"
"""The deployment that holds no stage and tells the others which bundle answers."""
FUSED_GATEWAY = DeploymentConfig()
EMPTY_GATEWAY = DeploymentConfig(num_cpus=0.2)


class StageDeployment(DeploymentConfig):
    """One deployment: its stages, which follow each other, and its size.

    The one called "gateway" answers HTTP and may hold any stages too.
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
        ValueError: a stage is not in exactly one place, or a deployment's do not follow each
            other.
    """
    for problem in _problems(deployments):
        raise ValueError(problem)
    if any(deployment.name == GATEWAY for deployment in deployments):
        return deployments
    return (StageDeployment.of(GATEWAY, (), EMPTY_GATEWAY), *deployments)


def stages_of(layout: Layout, name: str) -> tuple[StageName, ...]:
    """Return the stages that a deployment holds."""
    return next(deployment.stages for deployment in layout if deployment.name == name)


def share_of(stages: Sequence[StageName]) -> float:
    """Return the share of an answer's time that stages should take at most."""
    return len(stages) / len(PLACED)


def _problems(deployments: Layout) -> Iterator[str]:
    names = [deployment.name for deployment in deployments]
    for name in names:
        if names.count(name) > 1:
            yield f"two deployments are called {name!r}"
        if name == VERSIONS:
            yield f"a deployment is called {name!r}, which has a meaning of its own"
    for deployment in deployments:
        yield from _misplaced(deployment)
    placed = [stage for deployment in deployments for stage in deployment.stages]
    for stage in PLACED:
        if placed.count(stage) != 1:
            yield f"stage {stage!r} is in {placed.count(stage)} deployments; it must be in one"


def _misplaced(deployment: StageDeployment) -> Iterator[str]:
    stages = deployment.stages
    if deployment.name == GATEWAY:
        return
    if not stages:
        yield f"deployment {deployment.name!r} has no stages"
    elif stages != PLACED[PLACED.index(stages[0]) :][: len(stages)]:
        yield (
            f"deployment {deployment.name!r} has {', '.join(stages)}, which do not follow each "
            f"other; the order is {', '.join(PLACED)}"
        )
