"""`ray job submit --working-dir . -- python -m train CONFIG` on a cluster of its own."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from benchmarks.kills.processes import descendants, kill
from cluster.ports import free_port
from cluster.storage import Storage

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
STARTED = "Ray runtime started."
START_TIMEOUT_S = 120
JOB_TIMEOUT_S = 300


@dataclass(frozen=True)
class Cluster:
    """A head node of its own: folder, ports and HOME shared with no other Ray."""

    address: str
    environment: dict[str, str]

    def submit(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as a job, with the repository as its working folder."""
        submit = [str(BIN / "ray"), "job", "submit", "--address", self.address]
        return subprocess.run(
            [*submit, "--working-dir", ".", "--", *command],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=JOB_TIMEOUT_S,
            check=False,
        )


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    # Ray's sockets lie under its folder and their paths are limited to 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "HOME": str(folder),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "disabled",  # it listens on the loopback interface only
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    dashboard = free_port("127.0.0.1")
    said = folder / "head.log"
    with said.open("wb") as log:
        head = subprocess.Popen(
            _head_command(folder, dashboard),
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        _wait_for(address, head, said)
        yield Cluster(address, environment)
    finally:
        _stop(head)
        shutil.rmtree(folder, ignore_errors=True)


def test_preparation_and_training_run_as_jobs(cluster: Cluster, tmp_path: Path) -> None:
    root = f"storage.root={tmp_path}"
    prepared = cluster.submit("python", "-m", "features", "tests/tiny.toml", "--set", root)
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    few = ("--only", "ranking", "--set", "train.ranking.epochs=1")
    trained = cluster.submit("python", "-m", "train", "tests/tiny.toml", "--set", root, *few)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    storage = Storage(str(tmp_path), "tiny")
    manifest = storage.manifest("trained/ranking")
    assert manifest is not None
    assert manifest["epochs"] == 1
    assert not list(storage.local.glob("runs/*"))
    assert "ranking on the test split" in trained.stdout


def test_a_job_that_cannot_work_fails_with_one_line(cluster: Cluster, tmp_path: Path) -> None:
    root = f"storage.root={tmp_path}"
    done = cluster.submit("python", "-m", "train", "tests/tiny.toml", "--set", root)
    assert done.returncode != 0
    assert f"error: {tmp_path}/tiny/examples: no prepared data" in done.stdout


def _head_command(folder: Path, dashboard: int) -> list[str]:
    ports = {
        "port": free_port("127.0.0.1"),
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": free_port("127.0.0.1"),
        "dashboard-agent-grpc-port": free_port("127.0.0.1"),
        "ray-client-server-port": free_port("127.0.0.1"),
        "metrics-export-port": free_port("127.0.0.1"),
    }
    return [
        *(str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"),
        *("--node-ip-address", "127.0.0.1", "--temp-dir", str(folder / "ray")),
        *("--num-cpus", "2", "--object-store-memory", str(256 * 2**20)),
        *(f"--{name}={port}" for name, port in ports.items()),
    ]


def _stop(head: "subprocess.Popen[bytes]") -> None:
    """Kill the head and all that it started: asked politely, Ray takes half a minute."""
    family = [head.pid, *descendants(head.pid)]
    for process_id in family:
        with suppress(ProcessLookupError):
            kill(process_id)
    head.wait()


def _wait_for(address: str, head: "subprocess.Popen[bytes]", said: Path) -> None:
    """Wait for the whole node: the dashboard answers before, and ends with a head that gives up."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert head.poll() is None, said.read_text()
        if STARTED in said.read_text() and _answers(address):
            return
        time.sleep(0.5)
    raise TimeoutError(f"{address} does not answer:\n{said.read_text()}")


def _answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/api/jobs/").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
