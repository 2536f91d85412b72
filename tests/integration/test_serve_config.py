"""The Serve config file describes the application that `python -m serve` would start."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cluster import haproxy
from tests.conftest import ROOT, run_command

pytestmark = pytest.mark.integration

DEPLOYMENTS = """serve.deployments=[
  {name="gateway", stages=["hydrate"], max_replicas=4},
  {name="models", stages=["retrieve", "rank", "rerank"], num_cpus=0.5, max_ongoing_requests=3},
]""".replace("\n", "")
# What Ray Serve makes of the file; its import warns of its own use of pydantic.
READING = """
import json, sys, yaml
from pathlib import Path
from ray._common.utils import import_attr
from ray.serve._private.build_app import build_app
from ray.serve.schema import ServeDeploySchema

schema = ServeDeploySchema.model_validate(yaml.safe_load(Path(sys.argv[1]).read_text()))
(application,) = schema.applications
built = build_app(import_attr(application.import_path)(application.args), name="tiny")
print(json.dumps({
    "schema": json.loads(schema.model_dump_json(exclude_unset=True)),
    "built": {d.name: d.max_ongoing_requests for d in built.deployments},
    "ingress": built.ingress_deployment_name,
}))
"""


@pytest.fixture(scope="module")
def read(tiny_bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("config") / "serve.yaml"
    overrides = ["--set", f"storage.root={tiny_bundle_root}", "--set", DEPLOYMENTS]
    done = run_command("serve", *overrides, "--port", "8123", "--write-serve-config", str(path))
    assert done.returncode == 0, done.stderr
    for name in ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_worker_niceness", *haproxy.environment()):
        assert f"#   {name}=" in path.read_text()
    reading = [sys.executable, "-c", READING, str(path)]
    done = subprocess.run(reading, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_ray_serve_accepts_the_file(read: dict[str, Any]) -> None:
    (application,) = read["schema"]["applications"]
    gateway, models, versions = application["deployments"]
    assert read["schema"]["http_options"]["port"] == 8123
    assert (application["name"], application["route_prefix"]) == ("tiny", "/")
    assert gateway["autoscaling_config"]["max_replicas"] == 4
    assert gateway["backpressure_config"]["status_code"] == 429
    assert (models["name"], models["num_replicas"]) == ("models", 1)
    assert models["ray_actor_options"]["num_cpus"] == 0.5
    assert (versions["name"], versions["ray_actor_options"]["num_cpus"]) == ("versions", 0)


def test_its_import_path_builds_the_application(read: dict[str, Any]) -> None:
    (application,) = read["schema"]["applications"]
    sizes = {d["name"]: d["max_ongoing_requests"] for d in application["deployments"]}
    assert read["built"] == sizes
    assert sizes["models"] == 3
    assert read["ingress"] == "gateway"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    path = str(tmp_path / "missing" / "serve.yaml")
    done = run_command("serve", "--write-serve-config", path)
    assert done.returncode == 1
    assert f"error: --write-serve-config {path}: No such file or directory" in done.stderr
