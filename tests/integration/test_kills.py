"""A service under load whose parts are killed: clients see answers."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.kills.processes import command_line, descendants, kill
from cluster import haproxy
from cluster.ports import free_port
from serve.client import ServiceProcess, serve_command

pytestmark = pytest.mark.integration

TINY = Path(__file__).resolve().parent.parent / "tiny.toml"
DEPLOYMENTS = (
    'serve.deployments=[{name="gateway", stages=["hydrate", "retrieve", "rerank"], num_cpus=0.5, '
    'min_replicas=2, max_replicas=2}, {name="ranker", stages=["rank"], num_cpus=0.2}]'
)
CLIENTS = 3
ENOUGH = 15
PATIENCE_S = 120.0
POLL_S = 0.05


class Load:
    """Clients that ask without a pause, and what they were answered."""

    def __init__(self, service: ServiceProcess) -> None:
        self.url = f"{service.client.url}/v1/recommendations"
        self.answers: list[tuple[int, str | None]] = []
        self.is_over = threading.Event()

    def ask(self, user_id: int) -> None:
        """Ask until it is over."""
        with httpx.Client(timeout=60) as client:
            while not self.is_over.is_set():
                answer = client.post(self.url, json={"user_id": user_id})
                degraded = answer.json()["degraded"] if answer.status_code == 200 else None
                self.answers.append((answer.status_code, degraded))

    def wait_for_answers(self) -> None:
        """Wait for some more."""
        wanted = len(self.answers) + ENOUGH
        wait_for(lambda: len(self.answers) >= wanted)


@contextmanager
def load(service: ServiceProcess) -> Iterator[Load]:
    """Ask for the block, and fail with a client that failed."""
    clients = Load(service)
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(clients.ask, user_id) for user_id in range(CLIENTS)]
        try:
            clients.wait_for_answers()
            yield clients
        finally:
            clients.is_over.set()
    for one in running:
        one.result()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(POLL_S)


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
    with load(service) as clients:
        kill(min(before))
        wait_for(lambda: len(processes(service, "ServeReplica:tiny:gateway") - before) == 1)
        clients.wait_for_answers()
    assert {status for status, _ in clients.answers} == {200}


def test_a_stage_without_a_replica_is_waited_for_within_the_budget(
    service: ServiceProcess,
) -> None:
    (only,) = processes(service, "ServeReplica:tiny:ranker")
    with load(service) as clients:
        kill(only)
        wait_for(lambda: bool(processes(service, "ServeReplica:tiny:ranker") - {only}))
        wait_for(lambda: clients.answers[-1][1] is None)
    assert {status for status, _ in clients.answers} == {200}
    assert {degraded for _, degraded in clients.answers} <= {None, "rank late", "rank failed"}


@pytest.mark.skipif(not haproxy.environment(), reason="no HAProxy, or no Linux")
def test_haproxy_is_back_at_once_and_follows_replicas(service: ServiceProcess) -> None:
    for process_id in processes(service, "haproxy -db"):
        kill(process_id)
    killed = time.monotonic()
    wait_for(service.client.is_ready)
    assert time.monotonic() - killed < PATIENCE_S / 10
    for process_id in processes(service, "ServeReplica:tiny:gateway"):
        kill(process_id)
    wait_for(lambda: len(processes(service, "ServeReplica:tiny:gateway")) == 2)
    wait_for(service.client.is_ready)
