"""A service that is asked too much, killed or interrupted: it refuses, recovers and cleans up."""

import os
import signal
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from cluster.ports import free_port, refuse_taken
from serve.client import ServiceProcess, serve_command
from tests.patience import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.alone]

TINY = Path(__file__).resolve().parent.parent / "tiny.toml"


@pytest.fixture(scope="module")
def service(tiny_bundle_root: Path) -> Iterator[ServiceProcess]:
    overrides = [
        f"storage.root={tiny_bundle_root}",
        "serve.budget=5s",
        "serve.scaling.gateway.max_ongoing_requests=1",
        "serve.scaling.gateway.max_queued_requests=1",
    ]
    port = free_port("127.0.0.1")
    process = ServiceProcess(serve_command(TINY, port, overrides), port)
    with process:
        yield process


def test_overload_is_refused_with_the_time_to_come_back(service: ServiceProcess) -> None:
    url = f"http://127.0.0.1:{service.client.port}/v1/recommendations"
    with ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(httpx.post, url, json={"user_id": i}, timeout=60) for i in range(96)]
        answers = [one.result() for one in asked]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert {answer.status_code for answer in answers} == {200, 429}
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}


def test_a_killed_replica_is_replaced(service: ServiceProcess) -> None:
    killed = replicas(service)
    assert killed
    for process_id in killed:
        os.kill(process_id, signal.SIGKILL)
    wait_for(lambda: bool(replicas(service) - killed) and service.client.is_ready())
    status, answer = service.client.post("/v1/recommendations", {"user_id": 1})
    assert (status, answer["degraded"]) == (200, None)


def test_an_interrupted_service_ends_well_and_leaves_nothing(service: ServiceProcess) -> None:
    assert service.stop() == 0
    assert not in_session(service.process_id)
    refuse_taken("127.0.0.1", service.client.port)


def replicas(service: ServiceProcess) -> set[int]:
    """Return the processes of the gateway's replicas."""
    family = descendants(service.process_id)
    return {child for child in family if b"ServeReplica:tiny:gateway" in command_line(child)}


def descendants(process_id: int) -> set[int]:
    """Return all processes below one."""
    children: dict[int, list[int]] = defaultdict(list)
    for child, (parent, _) in parents_and_sessions().items():
        children[parent].append(child)
    found, pending = set(), [process_id]
    while pending:
        below = children[pending.pop()]
        found |= set(below)
        pending += below
    return found


def in_session(session: int) -> set[int]:
    """Return the processes of a session, orphans too."""
    return {one for one, (_, own) in parents_and_sessions().items() if own == session}


def parents_and_sessions() -> dict[int, tuple[int, int]]:
    """Return the parent and the session of every process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = int(fields[1]), int(fields[3])
    return found


def command_line(process_id: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{process_id}/cmdline").read_bytes()
    return b""
