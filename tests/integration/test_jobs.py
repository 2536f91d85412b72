"""`ray job submit --working-dir . -- python -m train CONFIG` on a cluster of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from cluster.ports import free_port
from cluster.storage import Storage

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
START_TIMEOUT_S = 120
JOB_TIMEOUT_S = 300
STOP_TIMEOUT_S = 60


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
    head = subprocess.Popen(
        _head_command(folder, dashboard),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{dashboard}"
    try:
        _wait_for(address, head)
        yield Cluster(address, environment)
    finally:
        _stop(head)
        shutil.rmtree(folder, ignore_errors=True)


def test_preparation_and_training_run_as_jobs(cluster: Cluster, tmp_path: Path) -> None:
    root = f"storage.root={tmp_path}"
    prepared = cluster.submit("python", "-m", "features", "tests/tiny.toml", "--set", root)
    assert prepared.returncode == 0, prepared.stdout + prepared.stderr
    few = ("--set", "train.retrieval.epochs=1", "--set", "train.ranking.epochs=1")
    trained = cluster.submit("python", "-m", "train", "tests/tiny.toml", "--set", root, *few)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    storage = Storage(str(tmp_path), "tiny")
    for model in ("retrieval", "ranking"):
        manifest = storage.manifest(f"trained/{model}")
        assert manifest is not None
        assert manifest["epochs"] == 1
    assert not list(storage.local.glob("runs/*"))
    assert "two_tower" in trained.stdout


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
    head.terminate()
    try:
        head.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()


def _wait_for(address: str, head: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert head.poll() is None, f"ray start exited with {head.returncode}"
        try:
            if httpx.get(f"{address}/api/jobs/").status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise TimeoutError(f"{address} does not answer")
