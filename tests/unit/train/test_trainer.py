"""How the workers share a cluster."""

import pytest

from cluster.errors import ConfigError
from train.config import TrainConfig
from train.trainer import worker_cpus


def test_workers_share_the_cores() -> None:
    assert worker_cpus(TrainConfig(num_workers=2), {"CPU": 5.0}) == 2
    assert worker_cpus(TrainConfig(num_workers=2, cpus_per_worker=8), {"CPU": 4.0}) == 8


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (TrainConfig(num_workers=4), "train.num_workers: 4, but the cluster's CPU count is 2"),
        (TrainConfig(use_gpu=True), "train.num_workers: 1, but the cluster's GPU count is 0"),
    ],
)
def test_workers_that_ray_would_wait_for_are_refused(config: TrainConfig, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        worker_cpus(config, {"CPU": 2.0})
