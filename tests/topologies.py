"""`python -m tests.topologies ROOT PORT`: one bundle under /fused, /split and /mixed on one Ray.

Prints one line of JSON when all answer, and stays until its standard input ends.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import ray.serve

from cluster.config import ClusterConfig, checked, read
from cluster.orphans import adopting
from cluster.ports import avoid_taken_haproxy_ports
from cluster.session import session
from cluster.storage import Storage
from features.stores.fill import fill
from retrieval.registry import champion
from serve.app import build_app
from serve.client import Client
from serve.config import ServeSettings
from serve.deployments import ReplicaSetup
from serve.equipment import Equipment
from tests.patience import wait_for

TINY = Path(__file__).resolve().parent / "tiny.toml"
DEPLOYMENTS = [
    {"name": "gateway", "stages": ["hydrate"], "num_cpus": 0.2},
    {"name": "models", "stages": ["retrieve", "rank"], "num_cpus": 0.5},
    {"name": "rules", "stages": ["rerank"], "num_cpus": 0.2},
]
# "mixed" keeps answers, so that those it repeats are compared with what the others compute.
TOPOLOGIES: dict[str, dict[str, Any]] = {
    "fused": {"topology": "fused"},
    "split": {"topology": "split"},
    "mixed": {"deployments": DEPLOYMENTS, "cache": {"answers": {"max_age": "60s"}}},
}


def settings_of(root: str, topology: str) -> ServeSettings:
    """Return the tiny world's settings with a budget that a busy machine keeps."""
    values = read(TINY, [f"storage.root={root}", "serve.budget=5s"])
    values["serve"] |= TOPOLOGIES[topology]
    return checked(ServeSettings, values, TINY)


def prepare(root: str) -> str:
    """Fill the online store; return the champion's id."""
    storage = Storage(root, "tiny")
    equipment = Equipment.open(settings_of(root, "fused"), champion(storage))
    fill(equipment.users.store, storage, equipment.users.recorder)
    equipment.users.store.close()
    return equipment.bundle.id


def main(root: str, port: int) -> None:
    """Deploy all and wait."""
    bundle_id = prepare(root)
    avoid_taken_haproxy_ports()
    ray_session = session(ClusterConfig(num_cpus=4))
    with adopting(), ray_session, tempfile.TemporaryDirectory() as folder:
        ray.serve.start(http_options={"host": "127.0.0.1", "port": port})
        for topology in TOPOLOGIES:
            setup = ReplicaSetup(settings_of(root, topology), bundle_id, Path(folder) / topology)
            ray.serve.run(build_app(setup), name=topology, route_prefix=f"/{topology}")
        client = Client(port)
        wait_for(lambda: all(client.get(f"/{name}/v1/health")[0] == 200 for name in TOPOLOGIES))
        applications = ray.serve.status().applications
        names = {name: sorted(applications[name].deployments) for name in TOPOLOGIES}
        sys.stdout.write(json.dumps(names) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
