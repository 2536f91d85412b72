"""Steady traffic while parts of the service are killed: what clients lose, and for how long.

.venv/bin/python -m benchmarks.serve_kills CONFIG [--rate 10] [--seconds 30] [--victims ...]

Two gateways hold every stage but ranking, which one replica of its own does. Each victim dies by
SIGKILL under Poisson arrivals that wait for nobody; "update" replaces every replica by a rolling
update instead. The worker node dies in a cluster of two nodes on this machine, a gateway on each.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import ray.cluster_utils
import ray.serve
from ray.serve.schema import ApplicationStatus
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.arrivals import Outcome
from benchmarks.kills.damage import Damage
from benchmarks.kills.processes import kill, named
from benchmarks.uncached import uncached
from cluster import haproxy
from cluster.command import parser, run
from cluster.config import ClusterConfig
from cluster.errors import InputError
from cluster.orphans import adopting
from cluster.ports import avoid_taken_haproxy_ports, free_port
from cluster.session import AUTH_TOKEN, TOKEN_BYTES, prepare_environment, session
from cluster.storage import Storage
from features.examples import Examples
from serve.app import build_app
from serve.client import Client
from serve.config import ServeConfig, ServeSettings
from serve.deployments import ReplicaSetup
from serve.preparation import prepare
from serve.topology import GATEWAY

RESULTS = Path(__file__).parent / "results" / "serve_kills.json"
APPLICATION = "kills"
RANKER = "ranker"
LAYOUT = [
    {"name": GATEWAY, "stages": ["hydrate", "retrieve", "rerank"], "num_cpus": 0.6},
    {"name": RANKER, "stages": ["rank"], "num_cpus": 0.2},
]
NUM_GATEWAYS = 2
NUM_USERS = 500
CALM_S = 8.0
"""Traffic before the kill."""
RECOVERY_S = 180.0
POLL_S = 0.2
WIDTH = 140
PACKAGES = ("ray", "torch", "numpy")


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Kill one after the other, print a table and one JSON line, and keep it."""
    settings = uncached(settings.model_copy(update={"serve": _layout(settings.serve)}))
    unknown = set(options.victims) - {*VICTIMS, "node"}
    if unknown:
        raise InputError(f"--victims: {', '.join(sorted(unknown))}; has {', '.join(VICTIMS)}, node")
    prepare_environment()
    avoid_taken_haproxy_ports()
    with tempfile.TemporaryDirectory(prefix="millrace-kills-") as name, adopting():
        trial = Trial(settings, prepare(settings).id, Path(name), options)
        rows = list(_rows(trial, options.victims))
    _show(rows)
    result = {
        "benchmark": "serve_kills",
        "rate": options.rate,
        "seconds": options.seconds,
        "rows": [vars(row) for row in rows],
        "recommender": settings.recommender,
        **machine.facts(*PACKAGES),
    }
    if set(options.victims) == {*VICTIMS, "node"}:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


class Trial:
    """A service under load on one Ray.

    Args:
        settings: what is served, in this benchmark's layout.
        bundle_id: the champion.
        folder: for bodies, outcomes and metrics.
        options: the command's.
    """

    def __init__(
        self, settings: ServeSettings, bundle_id: str, folder: Path, options: argparse.Namespace
    ) -> None:
        self.settings = settings
        self.bundle_id = bundle_id
        self.folder = folder
        self.options = options
        self.port = free_port("127.0.0.1")
        self.bodies = folder / "bodies.jsonl"
        self.bodies.write_text("\n".join(_bodies(settings)))

    @contextmanager
    def serving(self, config: ClusterConfig) -> Iterator[None]:
        """Serve for the block."""
        with session(config):
            ray.serve.start(
                proxy_location="HeadOnly",
                http_options={"host": "127.0.0.1", "port": self.port},
                logging_config={"enable_access_log": False},
            )
            self.deploy("first")
            self.wait_until_whole()
            try:
                yield
            finally:
                ray.serve.shutdown()

    def deploy(self, version: str) -> None:
        """Deploy, or replace every replica by one of another version."""
        setup = ReplicaSetup(self.settings, self.bundle_id, self.folder / version)
        ray.serve.run(build_app(setup), name=APPLICATION, route_prefix="/")

    def damage(self, victim: str, hurt: Callable[["Trial"], None]) -> Damage:
        """Hurt the service under load and sum up what became of the requests."""
        seconds = CALM_S + self.options.seconds
        outcomes = self.folder / f"{victim}.jsonl"
        command = [sys.executable, "-m", "benchmarks.arrivals", str(self.port), str(self.bodies)]
        command += [str(outcomes), "--phase", f"{self.options.rate}:{seconds}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout is not None
            started_s = json.loads(load.stdout.readline())["started_s"]
            time.sleep(max(started_s + CALM_S - time.time(), 0.0))
            killed_s = time.time() - started_s
            hurt(self)
        found = [Outcome(**json.loads(line)) for line in outcomes.read_text().splitlines()]
        return Damage.of(victim, found, killed_s)

    def wait_until_whole(self) -> None:
        """Wait until every replica runs and the service answers.

        Raises:
            InputError: that takes too long.
        """
        deadline = time.monotonic() + RECOVERY_S
        client = Client(self.port)
        while not (self._is_running() and client.is_ready()):
            if time.monotonic() > deadline:
                raise InputError(f"the service was not whole again within {RECOVERY_S:g} s")
            time.sleep(POLL_S)

    def _is_running(self) -> bool:
        application = ray.serve.status().applications.get(APPLICATION)
        return application is not None and application.status == ApplicationStatus.RUNNING


def _rows(trial: Trial, victims: list[str]) -> Iterator[Damage]:
    local = [victim for victim in VICTIMS if victim in victims]
    if local:
        with trial.serving(ClusterConfig(num_cpus=4)):
            for victim in local:
                yield trial.damage(victim, VICTIMS[victim])
                trial.wait_until_whole()
    if "node" in victims:
        yield _node_damage(trial)


def _node_damage(trial: Trial) -> Damage:
    """Kill the worker node of two; a gateway on each, as neither has room for both."""
    os.environ.setdefault(AUTH_TOKEN, secrets.token_hex(TOKEN_BYTES))
    os.environ.update(haproxy.environment())
    head = {"num_cpus": 1, "include_dashboard": False}
    nodes = ray.cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    worker = nodes.add_node(num_cpus=1)
    try:
        with trial.serving(ClusterConfig(address=nodes.address)):
            return trial.damage("node", lambda _: nodes.remove_node(worker, allow_graceful=False))
    finally:
        nodes.shutdown()


def _kill_replica(_: Trial) -> None:
    kill(named(f"ServeReplica:{APPLICATION}:{GATEWAY}")[0])


def _kill_stage(_: Trial) -> None:
    (only,) = named(f"ServeReplica:{APPLICATION}:{RANKER}")
    kill(only)


def _kill_haproxy(_: Trial) -> None:
    for process_id in named("haproxy -db"):
        kill(process_id)


def _kill_controller(_: Trial) -> None:
    kill(named("ServeController")[0])


def _update(trial: Trial) -> None:
    trial.deploy("second")


VICTIMS: dict[str, Callable[[Trial], None]] = {
    "replica": _kill_replica,
    "stage": _kill_stage,
    "haproxy": _kill_haproxy,
    "controller": _kill_controller,
    "update": _update,
}


def _layout(serve: ServeConfig) -> ServeConfig:
    """Return the section with this benchmark's deployments."""
    values = serve.model_dump(exclude_unset=True, exclude={"topology", "scaling", "deployments"})
    gateway, ranker = LAYOUT
    gateway = gateway | {"min_replicas": NUM_GATEWAYS, "max_replicas": NUM_GATEWAYS}
    return ServeConfig.model_validate(values | {"deployments": [gateway, ranker]})


def _bodies(settings: ServeSettings) -> Iterator[str]:
    ids = Examples.open(Storage(settings.storage.root, settings.recommender)).user_ids
    for user_id in ids[:NUM_USERS].to_list():
        yield json.dumps({"user_id": user_id})


def _show(rows: list[Damage]) -> None:
    table = Table(*(name.replace("_", " ") for name in Damage.__dataclass_fields__))
    for row in rows:
        table.add_row(*map(str, row.row()))
    Console(stderr=True, width=WIDTH).print(table)


if __name__ == "__main__":
    command = parser("benchmarks.serve_kills", "Kill parts of a service under load.")
    command.add_argument("--rate", type=float, default=10.0, help="requests per second")
    command.add_argument("--seconds", type=float, default=30.0, help="traffic after each kill")
    command.add_argument("--victims", nargs="+", default=[*VICTIMS, "node"], metavar="VICTIM")
    sys.exit(run(command, ServeSettings, main))
