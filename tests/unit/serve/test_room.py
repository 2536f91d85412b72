"""A service starts only where its replicas fit."""

import pytest

from cluster.errors import InputError
from serve.config import ServeConfig
from serve.room import check_room, reserved
from serve.topology import Layout


def layout(**ranker: float) -> Layout:
    return ServeConfig.model_validate({"topology": "split", "scaling": {"ranker": ranker}}).layout


def test_every_first_replica_counts() -> None:
    needed = reserved(layout(min_replicas=2, max_replicas=3, num_cpus=1.5, num_gpus=0.5))
    assert needed == {"CPU": pytest.approx(0.2 + 0.5 + 3.0 + 0.2), "GPU": 1.0}


def test_what_fits_is_let_through() -> None:
    check_room(layout(), {"CPU": 2.0})
    check_room(layout(num_gpus=1), {"CPU": 2.0, "GPU": 1.0})


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match=r"reserve 4\.9 CPUs, but Ray has 2; .* cluster\.num_cpus"):
        check_room(layout(num_cpus=4), {"CPU": 2.0})
    with pytest.raises(InputError, match="reserve 1 GPUs, but Ray has 0; lower num_gpus"):
        check_room(layout(num_gpus=1), {"CPU": 2.0})
