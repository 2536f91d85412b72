"""Steady traffic, then ten times as much for a minute, then back: what clients see of it.

.venv/bin/python -m benchmarks.serve_spike CONFIG [--simulated] [--rate 20] [--quick] [--set ...]

Arrivals are Poisson and wait for nobody. With --simulated the stages sleep instead of computing,
so that replicas do not share the machine's cores and scaling itself shows; without, the champion
bundle of the config answers.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.serve

from benchmarks import machine
from benchmarks.arrivals import Outcome, Phase
from benchmarks.spike.plot import plot
from benchmarks.spike.simulated import SimulatedGateway, SimulatedSetup
from benchmarks.spike.timeline import seconds, summary
from benchmarks.spike.watch import Look, Watch
from benchmarks.uncached import uncached
from cluster.command import parser, run
from cluster.config import load
from cluster.orphans import adopting
from cluster.ports import avoid_taken_haproxy_ports, free_port
from cluster.session import session
from cluster.storage import Storage
from features.examples import EXAMPLES, Examples
from features.stores.fill import fill
from retrieval.registry import champion
from serve.app import build_app, ingress
from serve.client import Client
from serve.config import ServeSettings
from serve.deployments import ReplicaSetup
from serve.equipment import Equipment
from serve.topology import GATEWAY

RESULTS = Path(__file__).parent / "results"
APPLICATION = "spike"
TIMES = 10
NUM_USERS = 500
WARM_UP_S = 5.0
SIMULATED = (
    "serve.topology=fused",
    "serve.threads=1",
    "serve.scaling.gateway.max_replicas=8",
    "serve.scaling.gateway.downscale_delay_s=20",
    "cluster.num_cpus=16",
)
PACKAGES = ("ray", "torch", "numpy")


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Run the spike, print one JSON line, keep it and draw it."""
    if options.simulated:
        overrides = [*SIMULATED, *options.overrides]
        settings = load(ServeSettings, options.config, overrides)
    settings = uncached(settings)
    phases = _phases(options)
    port = free_port("127.0.0.1")
    with tempfile.TemporaryDirectory(prefix="millrace-spike-") as name:
        folder = Path(name)
        with _deployed(settings, folder, port, is_simulated=options.simulated):
            bodies = folder / "bodies.jsonl"
            bodies.write_text("\n".join(_bodies(settings, is_simulated=options.simulated)))
            _load(port, bodies, folder, [Phase(options.rate, WARM_UP_S)])
            with Watch(APPLICATION, GATEWAY) as watch:
                started_s, outcomes = _load(port, bodies, folder, phases)
    objective_ms = settings.serve.objective
    kind = "simulated" if options.simulated else "real"
    result = {
        "benchmark": "serve_spike",
        "stages": kind,
        "objective_ms": objective_ms,
        **summary(outcomes, phases),
        "replicas": _replicas(watch.looks, started_s + phases[0].seconds),
        "recommender": settings.recommender,
        **machine.facts(*PACKAGES),
    }
    if not options.quick:
        (RESULTS / f"serve_spike_{kind}.json").write_text(json.dumps(result, indent=1) + "\n")
        plot(
            seconds(outcomes),
            watch.looks,
            RESULTS / f"serve_spike_{kind}.png",
            started_s=started_s,
            objective_ms=objective_ms,
            title=f"{options.rate:g} requests/s, then {TIMES * options.rate:g}: {kind} stages",
        )
    print(json.dumps(result))


def _phases(options: argparse.Namespace) -> list[Phase]:
    """Return before, spike, after."""
    before_s, spike_s, after_s = (5, 10, 15) if options.quick else (20, 60, 60)
    rate = options.rate
    return [Phase(rate, before_s), Phase(TIMES * rate, spike_s), Phase(rate, after_s)]


@contextmanager
def _deployed(
    settings: ServeSettings, folder: Path, port: int, *, is_simulated: bool
) -> Iterator[None]:
    """Serve on a port for the block."""
    setup = ReplicaSetup(settings, "simulated", folder / "metrics")
    if not is_simulated:
        setup = ReplicaSetup(settings, _prepare(settings), folder / "metrics")
    avoid_taken_haproxy_ports()
    with adopting(), session(settings.cluster):
        ray.serve.start(
            http_options={"host": "127.0.0.1", "port": port},
            logging_config={"enable_access_log": False},
        )
        app = _simulated_app(setup) if is_simulated else build_app(setup)
        ray.serve.run(app, name=APPLICATION, route_prefix="/")
        Client(port).wait_until_ready()
        try:
            yield
        finally:
            ray.serve.delete(APPLICATION)


def _simulated_app(setup: ReplicaSetup) -> Any:
    size = setup.settings.serve.layout[0]
    own = SimulatedSetup(setup.settings.serve, setup.metrics_folder)
    return ingress(SimulatedGateway, setup, size).bind(own)


def _prepare(settings: ServeSettings) -> str:
    """Fill the online store for the champion; return its id."""
    storage = Storage(settings.storage.root, settings.recommender)
    equipment = Equipment.open(settings, champion(storage))
    fill(equipment.users.store, storage, equipment.users.recorder)
    equipment.users.store.close()
    return equipment.bundle.id


def _bodies(settings: ServeSettings, *, is_simulated: bool) -> Iterator[str]:
    """Yield requests of known users, or of nobody."""
    storage = Storage(settings.storage.root, settings.recommender)
    has_users = not is_simulated and storage.exists(EXAMPLES)
    ids = Examples.open(storage).user_ids if has_users else range(NUM_USERS)
    for user_id in list(ids[:NUM_USERS]):
        yield json.dumps({"user_id": user_id})


def _load(
    port: int, bodies: Path, folder: Path, phases: Sequence[Phase]
) -> tuple[float, list[Outcome]]:
    """Run the generator in a process of its own; return when it started and its outcomes."""
    outcomes = folder / "outcomes.jsonl"
    command = [sys.executable, "-m", "benchmarks.arrivals", str(port), str(bodies), str(outcomes)]
    for phase in phases:
        command += ["--phase", f"{phase.rate}:{phase.seconds}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = [Outcome(**json.loads(line)) for line in outcomes.read_text().splitlines()]
    return json.loads(done.stdout)["started_s"], found


def _replicas(looks: Sequence[Look], spike_s: float) -> dict[str, Any]:
    """Tell how many there were, and how soon more came."""
    before = [look for look in looks if look.at_s < spike_s]
    first = before[-1].running if before else 0
    later = [look for look in looks if look.at_s >= spike_s]
    asked = [look.at_s for look in later if look.running + look.starting > first]
    ready = [look.at_s for look in later if look.running > first]
    return {
        "before": first,
        "most": max((look.running for look in later), default=first),
        "last": later[-1].running if later else first,
        "asked_after_s": round(asked[0] - spike_s, 1) if asked else None,
        "ready_after_s": round(ready[0] - spike_s, 1) if ready else None,
    }


if __name__ == "__main__":
    command = parser("benchmarks.serve_spike", "Ten times the traffic for a minute.")
    command.add_argument("--simulated", action="store_true", help="stages sleep")
    command.add_argument("--rate", type=float, default=20.0, help="steady requests per second")
    command.add_argument("--quick", action="store_true", help="half a minute; keeps no result")
    sys.exit(run(command, ServeSettings, main))
