"""A service whose replicas are all replaced by those of another version, under load."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kills.processes import command_line, descendants
from cluster.ports import free_port
from serve.client import Client
from tests.clients import Exchange, load_on
from tests.patience import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.alone]

# Two rankers as soon as its calls keep one busy for a hundredth of the time: those in flight would
# be few enough for one. The value of a click shows in every answer which version has made it.
DEPLOYMENTS = (
    'serve.deployments=[{name="gateway", stages=["hydrate", "retrieve", "rerank"], num_cpus=0.5}, '
    '{name="ranker", stages=["rank"], num_cpus=0.2, max_replicas=2, spare_replicas=0, '
    "target_utilization=0.01, target_ongoing_requests=32}]"
)
PARTS = ("gateway", "ranker", "versions")


class Redeployed:
    """A service, and what deploys it."""

    def __init__(self, root: Path) -> None:
        self.client = Client(free_port("127.0.0.1"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.redeployed", str(root), str(self.client.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def deploy(self, click: float) -> None:
        """Deploy a version in which a click has a value."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        overrides = [DEPLOYMENTS, f"serve.value={{click={click}}}"]
        self.process.stdin.write(json.dumps(overrides) + "\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "deployed\n", "it ended before that"

    def replicas(self, name: str) -> set[int]:
        """Return the processes of a deployment's replicas."""
        part = f"ServeReplica:tiny:{name}"
        family = descendants(self.process.pid)
        return {one for one in family if part in command_line(one)}

    def end(self) -> None:
        """End it, and what it started."""
        self.process.communicate()


@pytest.fixture(scope="module")
def service(tiny_bundle_root: Path) -> Iterator[Redeployed]:
    redeployed = Redeployed(tiny_bundle_root)
    try:
        redeployed.deploy(1.0)
        wait_for(redeployed.client.is_ready)
        yield redeployed
    finally:
        redeployed.end()


def value_of_a_click(exchange: Exchange) -> float:
    """Return what the replica that answered takes a click for."""
    best = exchange.answer["items"][0]
    return round(best["score"] / best["predictions"]["click"], 3)


def test_a_stage_is_scaled_by_what_its_calls_cost(service: Redeployed) -> None:
    with load_on(service.client.url) as clients:
        wait_for(lambda: len(service.replicas("ranker")) == 2)
        clients.wait_for_answers()
    assert clients.statuses == {200}


def test_another_version_takes_over_without_a_lost_request(service: Redeployed) -> None:
    before = {name: service.replicas(name) for name in PARTS}
    with load_on(service.client.url) as clients:
        service.deploy(2.0)
        wait_for(lambda: not any(before[name] & service.replicas(name) for name in PARTS))
        clients.wait_for_answers()
    assert clients.statuses == {200}
    assert clients.degraded == {None}
    values = [value_of_a_click(one) for one in clients.exchanges]
    assert (values[0], values[-1]) == (1.0, 2.0)
    assert set(values) == {1.0, 2.0}
