"""The training benchmark runs from end to end on a tiny model."""

import json
import subprocess
import sys

import pytest

from tests.conftest import COMMAND_TIMEOUT_S, ROOT


@pytest.mark.integration
@pytest.mark.alone
def test_every_variant_trains_and_the_last_line_holds_the_figures() -> None:
    command = [sys.executable, "-m", "benchmarks.train_throughput", "--quick", "--no-torchrec"]
    done = subprocess.run(
        [*command, "--rounds", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["benchmark"] == "train_throughput"
    rates = result["samples_per_s"]
    assert rates["torchrec"] is rates["torchrec_chunked"] is None
    assert min(rates[name] for name in ("common", "millrace", "two_workers")) > 0
    assert result["limit_samples_per_s"] > rates["millrace"]
    assert result["ray_over_torchrun"] > 0
    assert result["two_worker_cpu_ratio"] > 0
    assert result["two_worker_cpu_ratio_replicated"] > 0
    assert result["loss"]["millrace"] < 6.0  # log 256, the loss of no knowledge, is 5.5
