"""A spike over real sockets: HAProxy, Ray Serve's autoscaling, and stages that sleep."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.integration, pytest.mark.alone]

TINY = Path(__file__).resolve().parent.parent / "tiny.toml"
COMMAND = [sys.executable, "-m", "benchmarks.serve_spike", str(TINY), "--simulated", "--quick"]


def test_ten_times_the_traffic_is_answered_while_replicas_start(tmp_path: Path) -> None:
    options = ["--rate", "6", "--set", f"storage.root={tmp_path}", "--set", "serve.budget=1s"]
    done = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["benchmark"] == "serve_spike"
    assert (found["status_5xx"], found["lost"]) == (0, 0)
    before, spike, _ = found["phases"]
    assert spike["sent"] > 5 * before["sent"]
    assert found["degraded_share"] + found["refused_share"] <= 1
    assert found["replicas"]["asked_after_s"] is not None, "nobody asked for more"
    assert found["replicas"]["most"] > found["replicas"]["before"]
