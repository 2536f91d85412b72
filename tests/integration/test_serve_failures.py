"""What goes wrong with `python -m serve`: one line that names the thing, or it recovers."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
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

pytestmark = pytest.mark.integration

TINY = Path(__file__).resolve().parent.parent / "tiny.toml"


@pytest.fixture
def broken_root(tiny_bundle_root: Path, tmp_path: Path) -> Path:
    """A copy of the published world that a test may break."""
    root = tmp_path / "world"
    shutil.copytree(tiny_bundle_root, root, symlinks=True)
    return root


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


def refusal(*arguments: str) -> tuple[int, str]:
    """Run `python -m serve` and return its exit code and the only line it may print."""
    done = subprocess.run(
        [sys.executable, "-m", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert "Traceback" not in done.stderr, done.stderr
    assert len(lines) == 1, done.stderr
    return done.returncode, lines[0]


def tiny(root: Path, *arguments: str) -> tuple[str, ...]:
    return (str(TINY), "--set", f"storage.root={root}", *arguments)


def champion_of(root: Path) -> Path:
    """Return the folder of the only bundle."""
    bundles = (root / "tiny" / "bundles").iterdir()
    return next(path for path in bundles if not path.name.startswith(".")).resolve()


def test_a_taken_port_is_named(tiny_bundle_root: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        code, line = refusal(*tiny(tiny_bundle_root, "--port", port))
    assert code == 1
    assert f"port {port} on 127.0.0.1" in line


def test_a_port_that_is_none_is_wrong_use(tiny_bundle_root: Path) -> None:
    code, line = refusal(*tiny(tiny_bundle_root, "--port", "99999"))
    assert code == 2
    assert "--port 99999" in line


def test_without_a_published_bundle_the_missing_step_is_named(tmp_path: Path) -> None:
    code, line = refusal(*tiny(tmp_path, "--port", str(free_port())))
    assert code == 1
    assert "no published bundle; run `python -m retrieval CONFIG` first" in line


def test_a_truncated_bundle_is_refused(broken_root: Path) -> None:
    vectors = champion_of(broken_root) / "item_vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-100])
    code, line = refusal(*tiny(broken_root, "--port", str(free_port())))
    assert code == 1
    assert "item_vectors.npy: truncated bundle" in line


def test_an_edited_bundle_is_refused(broken_root: Path) -> None:
    vectors = champion_of(broken_root) / "item_vectors.npy"
    content = bytearray(vectors.read_bytes())
    content[-1] ^= 1
    vectors.write_bytes(content)
    code, line = refusal(*tiny(broken_root, "--port", str(free_port())))
    assert code == 1
    assert "item_vectors.npy: content differs" in line


def test_a_bundle_with_another_fingerprint_is_refused(broken_root: Path) -> None:
    folder = champion_of(broken_root)
    manifest = json.loads((folder / "manifest.json").read_text())
    sealed = manifest["fingerprint"]
    other = "0" * len(sealed)
    (folder / "manifest.json").write_text(json.dumps({**manifest, "fingerprint": other}))
    code, line = refusal(*tiny(broken_root, "--port", str(free_port())))
    assert code == 1
    assert f"bundle of schema {other}" in line
    assert sealed in line


def test_a_typo_in_the_config_is_wrong_use(tiny_bundle_root: Path) -> None:
    code, line = refusal(*tiny(tiny_bundle_root, "--set", "serve.topolgy=split"))
    assert code == 2
    assert "did you mean 'topology'?" in line


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
