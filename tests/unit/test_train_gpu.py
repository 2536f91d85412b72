"""The benchmark of the GPU step needs torch alone, and learns."""

import json
import subprocess
import sys

from tests.conftest import COMMAND_TIMEOUT_S, ROOT

BARE = """
import sys
for name in ("ray", "pydantic", "pyarrow", "polars", "mlflow", "faiss"):
    sys.modules[name] = None
sys.argv = ["train_gpu", "--device", "cpu", "--quick", "--batch", "256"]
sys.argv += ["--steps", "20", "--rounds", "1"]
import runpy
runpy.run_module("benchmarks.train_gpu", run_name="__main__")
"""


def test_it_runs_where_nothing_but_torch_is_installed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert all(rate > 0 for rate in row["samples_per_s"].values())
    assert row["loss"]["millrace"] < 5.0  # log 256, the loss of no knowledge, is 5.5
