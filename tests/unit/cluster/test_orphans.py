"""What a killed process has started ends with the block."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux adopts orphans")

SCRIPT = """
import subprocess, sys
from cluster.orphans import adopting

with adopting():
    parent = "sleep 300 >/dev/null & echo $!; kill -9 $$"
    done = subprocess.run(["sh", "-c", parent], stdout=subprocess.PIPE)
sys.stdout.write(done.stdout.decode())
"""


def test_an_orphan_ends_with_the_block() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    orphan = int(done.stdout)
    deadline = time.monotonic() + 5
    while Path(f"/proc/{orphan}").exists():
        assert time.monotonic() < deadline, f"{orphan} is left behind"
        time.sleep(0.05)


def test_children_from_before_the_block_are_spared() -> None:
    script = SCRIPT.replace(
        "with adopting", "old = subprocess.Popen(['sleep', '300'])\nwith adopting"
    )
    script += "assert old.poll() is None\nold.kill()\n"
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == os.EX_OK
