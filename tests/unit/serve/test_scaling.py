"""The sizes of deployments."""

import pytest
from pydantic import ValidationError

from serve.config import ServeConfig
from serve.scaling import DeploymentConfig, ScalingConfig


def test_a_deployment_is_autoscaled_when_its_bounds_differ() -> None:
    assert not DeploymentConfig().is_autoscaled
    assert DeploymentConfig(min_replicas=1, max_replicas=4).is_autoscaled


def test_bounds_that_cross_are_refused() -> None:
    with pytest.raises(ValidationError, match="max_replicas 1 is below min_replicas 3"):
        DeploymentConfig(min_replicas=3)


def test_the_stages_leave_a_two_core_machine_room_for_the_gateway() -> None:
    scaling = ScalingConfig()
    stages = (scaling.retriever, scaling.ranker, scaling.reranker)
    assert sum(stage.num_cpus for stage in stages) <= 1.8


@pytest.mark.parametrize(
    ("size", "threads"),
    [({"num_cpus": 0.5}, 2), ({"num_cpus": 8}, 8), ({"num_cpus": 8, "threads": 3}, 3)],
)
def test_a_replica_computes_as_many_stages_at_a_time_as_it_has_cores(
    size: dict[str, float], threads: int
) -> None:
    config = ServeConfig.model_validate({"topology": "split", "scaling": {"ranker": size}})
    assert config.sized("ranker").threads == threads
    assert config.sized("gateway").threads == 2
