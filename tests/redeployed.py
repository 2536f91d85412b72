"""`python -m tests.redeployed ROOT PORT`: a service that another version takes over from.

Each line of its standard input is a JSON list of overrides of the tiny config, with which the
application is deployed; a line is printed when that is done. It ends with its standard input.
"""

import json
import sys
import tempfile
from pathlib import Path

import ray.serve

from cluster.config import ClusterConfig, load
from cluster.orphans import adopting
from cluster.ports import avoid_taken_haproxy_ports
from cluster.session import session
from serve.app import build_app
from serve.config import ServeSettings
from serve.deployments import ReplicaSetup
from serve.preparation import prepare

TINY = Path(__file__).resolve().parent / "tiny.toml"


def deploy(root: str, overrides: list[str], folder: Path) -> None:
    """Deploy, in place of the replicas that there are."""
    settings = load(ServeSettings, TINY, [f"storage.root={root}", *overrides])
    setup = ReplicaSetup(settings, prepare(settings).id, folder)
    ray.serve.run(build_app(setup), name="tiny", route_prefix="/")


def main(root: str, port: int) -> None:
    """Deploy whatever is asked for."""
    avoid_taken_haproxy_ports()
    with adopting(), session(ClusterConfig(num_cpus=4)), tempfile.TemporaryDirectory() as folder:
        ray.serve.start(http_options={"host": "127.0.0.1", "port": port})
        for line in sys.stdin:
            deploy(root, json.loads(line), Path(folder))
            sys.stdout.write("deployed\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
