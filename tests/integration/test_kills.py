"""A service under load whose parts are killed: clients see answers."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.kills.processes import command_line, descendants, kill
from cluster import haproxy
from cluster.ports import free_port
from serve.client import ServiceProcess, serve_command
from tests.clients import load_on
from tests.conftest import TINY
from tests.patience import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.alone]

DEPLOYMENTS = (
    'serve.deployments=[{name="gateway", stages=["hydrate", "retrieve", "rerank"], num_cpus=0.5, '
    'min_replicas=2, max_replicas=2}, {name="ranker", stages=["rank"], num_cpus=0.2}]'
)
BACK_S = 12.0
"""HAProxy is back sooner by far; Ray alone would take half a minute."""


def processes(service: ServiceProcess, part: str) -> set[int]:
    """Return the service's processes whose command line holds a text."""
    return {p for p in descendants(service.process_id) if part in command_line(p)}


@pytest.fixture(scope="module")
def service(tiny_bundle_root: Path) -> Iterator[ServiceProcess]:
    port = free_port("127.0.0.1")
    overrides = [f"storage.root={tiny_bundle_root}", DEPLOYMENTS, "cluster.num_cpus=2"]
    process = ServiceProcess(serve_command(TINY, port, overrides), port)
    with process:
        wait_for(lambda: len(processes(process, "ServeReplica:tiny:gateway")) == 2)
        yield process


def test_a_gateway_that_dies_loses_no_request(service: ServiceProcess) -> None:
    before = processes(service, "ServeReplica:tiny:gateway")
    with load_on(service.client.url) as clients:
        kill(min(before))
        wait_for(lambda: len(processes(service, "ServeReplica:tiny:gateway") - before) == 1)
        clients.wait_for_answers()
    assert clients.statuses == {200}


def test_a_stage_without_a_replica_is_waited_for_within_the_budget(
    service: ServiceProcess,
) -> None:
    (only,) = processes(service, "ServeReplica:tiny:ranker")
    with load_on(service.client.url) as clients:
        kill(only)
        wait_for(lambda: bool(processes(service, "ServeReplica:tiny:ranker") - {only}))
        wait_for(lambda: clients.exchanges[-1].answer.get("degraded") is None)
    assert clients.statuses == {200}
    assert clients.degraded <= {None, "rank late", "rank failed"}


@pytest.mark.skipif(not haproxy.environment(), reason="no HAProxy, or no Linux")
def test_haproxy_is_back_at_once_and_follows_replicas(service: ServiceProcess) -> None:
    for process_id in processes(service, "haproxy -db"):
        kill(process_id)
    killed = time.monotonic()
    wait_for(service.client.is_ready)
    assert time.monotonic() - killed < BACK_S
    for process_id in processes(service, "ServeReplica:tiny:gateway"):
        kill(process_id)
    wait_for(lambda: len(processes(service, "ServeReplica:tiny:gateway")) == 2)
    wait_for(service.client.is_ready)
