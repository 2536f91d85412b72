"""What a replica takes of the machine's memory, what further ones add, and how soon they are ready.

.venv/bin/python -m benchmarks.serve_memory CONFIG [--seconds 5] [--programs compiled exported]

One, two and three replicas of the fused topology, each asked for by deploying the service's own
config file with one more. With "compiled" programs the host has the packages, as all replicas but
the first ones of a bundle find it; "exported" is how those start. Proportional set sizes share out
the pages that replicas have in common: their sum is what the machine has given.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
import ray.serve
from ray.serve.context import _get_global_client
from ray.serve.schema import ServeDeploySchema

from benchmarks import machine
from benchmarks.footprint import Footprint
from benchmarks.kills.processes import named
from benchmarks.replicas.start import Ready, Start
from benchmarks.replicas.summary import summary
from cluster.command import parser, run
from cluster.config import load
from cluster.errors import InputError
from cluster.orphans import adopting
from cluster.ports import avoid_taken_haproxy_ports, free_port
from cluster.session import session
from cluster.storage import Storage
from features.examples import Examples
from serve.client import Client
from serve.config import ServeSettings
from serve.logs import FILE
from serve.preparation import prepare
from serve.serve_config import document
from serve.topology import GATEWAY

RESULTS = Path(__file__).parent / "results" / "serve_memory.json"
PROGRAMS = {"compiled": "always", "exported": "never"}
MAX_REPLICAS = 3
NUM_CPUS = 0.3
"""Reserved for each replica, so that three fit on two cores."""
NUM_USERS = 500
CLIENTS = 4
TIMEOUT_S = 300.0
POLL_S = 0.02
PACKAGES = ("ray", "torch", "numpy")


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Measure each kind of programs, print one JSON line and keep it."""
    prepare(settings)
    rows, starts = [], []
    for programs in options.programs:
        overrides = [*options.overrides, f"serve.runtime.compile={PROGRAMS[programs]}"]
        with Host(load(ServeSettings, options.config, overrides)).serving() as host:
            for number in range(1, MAX_REPLICAS + 1):
                start = host.grow(number)
                host.load(options.seconds)
                rows.append({"programs": programs, **host.memory()})
                if number > 1:  # the first one begins with the service itself
                    starts.append({"programs": programs, "replicas": number, **start.row()})
                sys.stderr.write(f"{rows[-1]} {start.row()}\n")
    result = {
        "benchmark": "serve_memory",
        **summary(rows, starts, options.programs[0]),
        "rows": rows,
        "starts": starts,
        "recommender": settings.recommender,
        **machine.facts(*PACKAGES),
    }
    if list(options.programs) == list(PROGRAMS):
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


class Host:
    """A service on a Ray of its own, to which replicas are added."""

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.port = free_port("127.0.0.1")
        self.log = Storage(settings.storage.root, settings.recommender).local / FILE

    @contextmanager
    def serving(self) -> Iterator["Host"]:
        """Have Ray Serve for the block, without a replica yet."""
        avoid_taken_haproxy_ports()
        with adopting(), session(self.settings.cluster):
            ray.serve.start(
                http_options={"host": "127.0.0.1", "port": self.port},
                logging_config={"enable_access_log": False},
            )
            try:
                yield self
            finally:
                ray.serve.delete(self.settings.recommender)

    def grow(self, number: int) -> Start:
        """Deploy one more replica and wait until it runs.

        Raises:
            InputError: that takes too long.
        """
        before = set(self.processes())
        asked_s = time.time()
        _get_global_client().deploy_apps(ServeDeploySchema.model_validate(self._document(number)))
        while self._num_running() < number or not Client(self.port).is_ready():
            if time.time() - asked_s > TIMEOUT_S:
                raise InputError(f"replica {number} does not run after {TIMEOUT_S:g} s")
            time.sleep(POLL_S)
        running_s = time.time()
        (added,) = set(self.processes()) - before
        ready = Ready.of(added, self.log.read_text())
        assert ready is not None, added
        return Start.of(added, ready, asked_s=asked_s, running_s=running_s)

    def load(self, seconds: float) -> None:
        """Ask for a while, as every replica's memory grows with its first requests."""
        with tempfile.TemporaryDirectory(prefix="millrace-memory-") as name:
            bodies = Path(name) / "bodies.jsonl"
            bodies.write_text("\n".join(_bodies(self.settings)))
            command = [sys.executable, "-m", "benchmarks.load", str(self.port), str(bodies)]
            command += ["--clients", str(CLIENTS), "--seconds", str(seconds)]
            subprocess.run(command, check=True, capture_output=True)

    def memory(self) -> dict[str, Any]:
        """Return the replicas' sizes: each one's in the mean, and their sum."""
        found = [Footprint.of(process_id) for process_id in self.processes()]
        sizes = [one for one in found if one is not None]
        means = {
            name: round(statistics.mean(getattr(size, name) for size in sizes), 1)
            for name in ("pss_mb", "uss_mb", "rss_mb")
        }
        total = round(sum(size.pss_mb for size in sizes), 1)
        return {"replicas": len(sizes), **means, "total_pss_mb": total}

    def processes(self) -> list[int]:
        """Return the replicas' processes, oldest first."""
        return named(f"ServeReplica:{self.settings.recommender}:{GATEWAY}")

    def _document(self, number: int) -> dict[str, Any]:
        """Return the service's config file for so many replicas; nothing else differs."""
        file = document(self.settings, host="127.0.0.1", port=self.port)
        (gateway,) = (d for d in file["applications"][0]["deployments"] if d["name"] == GATEWAY)
        gateway.pop("autoscaling_config", None)
        gateway["num_replicas"] = number
        gateway["ray_actor_options"]["num_cpus"] = NUM_CPUS
        return file

    def _num_running(self) -> int:
        application = ray.serve.status().applications.get(self.settings.recommender)
        deployment = application.deployments.get(GATEWAY) if application else None
        states = deployment.replica_states if deployment else {}
        return sum(number for state, number in states.items() if str(state).endswith("RUNNING"))


def _bodies(settings: ServeSettings) -> Iterator[str]:
    ids = Examples.open(Storage(settings.storage.root, settings.recommender)).user_ids
    for user_id in ids[:NUM_USERS].to_list():
        yield json.dumps({"user_id": user_id})


if __name__ == "__main__":
    command = parser("benchmarks.serve_memory", "Memory of replicas, and how soon they are ready.")
    command.add_argument("--seconds", type=float, default=5.0, help="of load before each look")
    command.add_argument("--programs", nargs="+", choices=PROGRAMS, default=list(PROGRAMS))
    sys.exit(run(command, ServeSettings, main))
