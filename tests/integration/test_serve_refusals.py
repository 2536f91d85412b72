"""What stops `python -m serve` from starting is said in one line that names the thing."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.ports import free_port
from tests.conftest import TINY

pytestmark = pytest.mark.integration

TIMEOUT_S = 120


@pytest.fixture
def broken_root(tiny_bundle_root: Path, tmp_path: Path) -> Path:
    """A copy of the published world that a test may break."""
    root = tmp_path / "world"
    shutil.copytree(tiny_bundle_root, root, symlinks=True)
    return root


def refusal(*arguments: str) -> tuple[int, str]:
    """Run `python -m serve` and return its exit code and the only line it may print."""
    done = subprocess.run(
        [sys.executable, "-m", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
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
