"""Bundles that take over from each other under steady traffic: what clients notice.

.venv/bin/python -m benchmarks.serve_switch CONFIG [--rate 10] [--switches 4] [--quick]

Poisson arrivals wait for nobody. The bundles differ in their rankers' weights, so that every
answer's scores tell which of them computed it: each is computed again from the bundle that the
answer names. The registry and the online store are copies; those of the config are not touched.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import ray.serve
import torch
from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.arrivals import Outcome
from benchmarks.switch.reproduction import Kept, Reproduction
from benchmarks.switch.windows import Instants, Switch, sum_up
from benchmarks.switch.world import copied
from benchmarks.uncached import uncached
from cluster.command import parser, run
from cluster.errors import InputError
from cluster.orphans import adopting
from cluster.ports import avoid_taken_haproxy_ports, free_port
from cluster.session import session
from cluster.storage import Storage
from features.examples import Examples
from retrieval.registry import Registry
from serve.app import build_app
from serve.client import Client
from serve.config import ServeSettings
from serve.deployments import ReplicaSetup
from serve.preparation import prepare
from serve.versions.coordinator import LINGER_S

RESULTS = Path(__file__).parent / "results" / "serve_switch.json"
APPLICATION = "switch"
NUM_USERS = 500
AFTER_S = 5.0
CALM_S = LINGER_S + 5.0
"""Traffic before each switch, in which the bundle before the last one is closed."""
TIMEOUT_S = 600.0
LONGEST_S = 7_200
POLL_S = 0.05
WIDTH = 160
PACKAGES = ("ray", "torch", "numpy")


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Let bundles take over, print a table and one JSON line, and keep it."""
    torch.set_num_threads(1)
    settings = _trusting(uncached(settings))
    num_others = options.switches if options.fresh else 1
    with copied(settings, num_others) as (own, ids), tempfile.TemporaryDirectory() as name:
        trial = Trial(own, Path(name), options)
        with trial.serving():
            targets = [ids[number % len(ids)] for number in range(1, 1 + options.switches)]
            outcomes, kept, published = trial.run(targets)
        rows = list(_rows(outcomes, kept, published, [ids[0], *targets]))
        whole = [one for one in kept if one.answer["degraded"] is None]
        reproduction = Reproduction(own)
        mixed = sum(not reproduction.is_exact(one) for one in whole)
    _show(rows)
    result = {
        "benchmark": "serve_switch",
        "requests": len(outcomes),
        "failed": sum(row.failed for row in rows),
        "mixed": mixed,
        "checked": len(whole),
        "seconds": [row.seconds for row in rows],
        "rate": options.rate,
        "topology": settings.serve.layout_name,
        "compile": settings.serve.runtime.compile,
        "rows": [asdict(row) for row in rows],
        "recommender": settings.recommender,
        **machine.facts(*PACKAGES),
    }
    if not options.quick:
        RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


class Trial:
    """A service under load, and a registry whose champion changes.

    Args:
        settings: what is served.
        folder: for bodies, outcomes and metrics.
        options: the command's.
    """

    def __init__(self, settings: ServeSettings, folder: Path, options: argparse.Namespace) -> None:
        self.settings = settings
        self.folder = folder
        self.options = options
        self.port = free_port("127.0.0.1")
        self.calm_s = AFTER_S if options.quick else CALM_S

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve for the block."""
        bundle = prepare(self.settings)
        avoid_taken_haproxy_ports()
        with adopting(), session(self.settings.cluster):
            ray.serve.start(
                proxy_location="HeadOnly",
                http_options={"host": "127.0.0.1", "port": self.port},
                logging_config={"enable_access_log": False},
            )
            setup = ReplicaSetup(self.settings, bundle.id, self.folder / "metrics")
            ray.serve.run(build_app(setup), name=APPLICATION, route_prefix="/")
            self._wait_for(bundle.id)
            try:
                yield
            finally:
                ray.serve.delete(APPLICATION)

    def run(self, targets: list[str]) -> tuple[list[Outcome], list[Kept], list[float]]:
        """Let one bundle after the other take over under load.

        Returns:
            What became of the requests, the answers, and when each bundle was published, in
            seconds since 1970; the first instant is the beginning of the traffic.
        """
        registry = Registry(Storage(self.settings.storage.root, self.settings.recommender))
        bodies, outcomes, answers = (self.folder / f"{n}.jsonl" for n in ("bodies", "out", "got"))
        bodies.write_text("\n".join(_bodies(self.settings)))
        command = [sys.executable, "-m", "benchmarks.arrivals", str(self.port), str(bodies)]
        command += [str(outcomes), "--answers", str(answers)]
        command += ["--phase", f"{self.options.rate}:{LONGEST_S}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout is not None
            instants = [json.loads(load.stdout.readline())["started_s"]]
            for target in targets:
                time.sleep(self.calm_s)
                instants.append(time.time())
                registry.promote(registry.version_of(target))
                self._wait_for(target)
                time.sleep(AFTER_S)
            load.terminate()
        found = [Outcome(**json.loads(line)) for line in outcomes.read_text().splitlines()]
        kept = [Kept(**json.loads(line)) for line in answers.read_bytes().splitlines()]
        return found, kept, instants

    def _wait_for(self, bundle_id: str) -> None:
        """Wait until a bundle answers.

        Raises:
            InputError: that takes too long.
        """
        client, deadline = Client(self.port), time.monotonic() + TIMEOUT_S
        while not (client.is_ready() and self._answers(client, bundle_id)):
            if time.monotonic() > deadline:
                raise InputError(f"bundle {bundle_id} did not answer within {TIMEOUT_S:g} s")
            time.sleep(POLL_S)

    @staticmethod
    def _answers(client: Client, bundle_id: str) -> bool:
        told: str = json.loads(client.get("/v1/health")[1])["bundle"]
        return told == bundle_id


def _rows(
    outcomes: list[Outcome], kept: list[Kept], instants: list[float], ids: list[str]
) -> Iterator[Switch]:
    """Yield what clients saw of each switch, from one bundle to the next."""
    started_s, *published_s = instants
    ends_s = [*published_s[1:], float("inf")]
    for (old, new), begin_s, end_s in zip(pairwise(ids), published_s, ends_s, strict=True):
        came_s: dict[str, list[float]] = {old: [begin_s], new: []}
        for one in kept:
            at_s = one.received_ms / 1000
            if begin_s <= at_s < end_s:
                came_s[one.answer["bundle"]].append(at_s)
        first_new_s = min(came_s[new])
        at = Instants(
            begun_s=begin_s - AFTER_S - started_s,
            published_s=begin_s - started_s,
            first_new_s=first_new_s - started_s,
            last_old_s=max(came_s[old]) - started_s,
            ended_s=first_new_s + AFTER_S - started_s,
        )
        yield sum_up(outcomes, at)


def _trusting(settings: ServeSettings) -> ServeSettings:
    """Return settings with which a bundle that took over stays, and the one before it goes."""
    rollout = settings.serve.rollout.model_copy(update={"watch": 0, "max_drift": float("inf")})
    serve = settings.serve.model_copy(update={"rollout": rollout})
    return settings.model_copy(update={"serve": serve})


def _bodies(settings: ServeSettings) -> Iterator[str]:
    ids = Examples.open(Storage(settings.storage.root, settings.recommender)).user_ids
    for user_id in ids[:NUM_USERS].to_list():
        yield json.dumps({"user_id": user_id})


def _show(rows: list[Switch]) -> None:
    table = Table(*(name.replace("_", " ") for name in Switch.__dataclass_fields__))
    for row in rows:
        table.add_row(*map(str, vars(row).values()))
    Console(stderr=True, width=WIDTH).print(table)


if __name__ == "__main__":
    command = parser("benchmarks.serve_switch", "Switch bundles of a service under load.")
    command.add_argument("--rate", type=float, default=10.0, help="requests per second")
    command.add_argument("--switches", type=int, default=4)
    command.add_argument(
        "--fresh", action="store_true", help="make a bundle per switch, each compiled for itself"
    )
    command.add_argument("--quick", action="store_true", help="a short run that keeps no result")
    sys.exit(run(command, ServeSettings, main))
