"""A cluster is shared out among trials and their workers."""

import pytest

from cluster.errors import ConfigError
from train.config import TrainConfig
from tune.room import Room


@pytest.mark.parametrize(
    ("train", "concurrent", "expected"),
    [
        ({}, None, Room(cpus=1, concurrent=8)),
        ({}, 2, Room(cpus=4, concurrent=2)),
        ({"num_workers": 2}, None, Room(cpus=1, concurrent=4)),
        ({"num_workers": 2}, 2, Room(cpus=2, concurrent=2)),
        ({"num_workers": 2, "cpus_per_worker": 3}, None, Room(cpus=3, concurrent=1)),
        ({"use_gpu": True}, None, Room(cpus=1, concurrent=2)),
    ],
)
def test_trials_share_the_cluster(
    train: dict[str, int], concurrent: int | None, expected: Room
) -> None:
    config = TrainConfig.model_validate(train)
    assert Room.of(config, concurrent, {"CPU": 8.0, "GPU": 2.0}) == expected


@pytest.mark.parametrize(
    ("train", "concurrent", "expected"),
    [
        ({"num_workers": 3}, None, "1 of 3 workers with 1 CPU each .* 2 CPU"),
        ({}, 3, "3 of 1 workers with 1 CPU each"),
        ({"use_gpu": True}, None, "and a GPU each .* 2 CPU and 0 GPU"),
    ],
)
def test_too_little_room_is_said(
    train: dict[str, int], concurrent: int | None, expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        Room.of(TrainConfig.model_validate(train), concurrent, {"CPU": 2.0})
