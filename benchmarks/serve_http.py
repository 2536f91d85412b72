"""Ray Serve behind HAProxy against the same stages behind plain FastAPI and uvicorn.

.venv/bin/python -m benchmarks.serve_http CONFIG [--rounds 3] [--seconds 5] [--set ...]

One fused replica and one uvicorn process hold the same bundle and the same online store; a load
generator in a process of its own asks each in turn, in interleaved rounds, with 1 client and at
saturation. Budgets are lifted and nothing is cached, so that all do all the work for every answer.

Two more rows hold the stages in deployments of their own, three calls per request: "split" as
this project runs it, "naive" with Ray Serve's defaults (its proxy in Python, calls of actors).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import uncached
from benchmarks.machine import facts
from cluster.command import parser, run
from cluster.ports import free_port
from cluster.storage import Storage
from features.examples import Examples
from models.bundle import Bundle
from retrieval.registry import champion
from serve.client import Client, ServiceProcess, serve_command
from serve.config import ServeSettings
from serve.options import replica_environment

RESULTS = Path(__file__).parent / "results" / "serve_http.json"
CLIENTS = (1, 4, 8)
NUM_USERS = 500
OVERRIDES = {
    "serve": ("serve.topology=fused", "serve.budget=30s", *uncached.OVERRIDES),
    "split": ("serve.topology=split", "serve.budget=30s", *uncached.OVERRIDES),
    "naive": ("serve.topology=split", "serve.budget=30s", *uncached.OVERRIDES),
}
DEFAULTS = ("RAY_SERVE_ENABLE_HA_PROXY=0", "RAY_SERVE_THROUGHPUT_OPTIMIZED=0")
"""What this project's session would otherwise set."""
SERVERS = ("serve", "plain", "split", "naive")
PACKAGES = ("ray", "torch", "fastapi", "uvicorn", "faiss-cpu", "numpy")


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Measure both, print one JSON line and keep it."""
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as folder:
        bodies = Path(folder) / "bodies.jsonl"
        bodies.write_text("\n".join(_bodies(settings)))
        with _servers(options, Path(folder)) as servers:
            bundle = json.loads(servers["serve"].get("/v1/health")[1])["bundle"]
            loads = list(_rounds(servers, bodies, options))
            candidates = {name: _candidates(client) for name, client in servers.items()}
    rows = _rows(loads)
    result = {
        "benchmark": "serve_http",
        **_ratios(loads),
        "recommender": settings.recommender,
        "bundle": bundle,
        "items": _num_items(settings),
        "candidates": candidates,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": rows,
        **facts(*PACKAGES),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _num_items(settings: ServeSettings) -> int:
    """Return the size of the catalogue that candidates come from."""
    storage = Storage(settings.storage.root, settings.recommender)
    return Bundle(champion(storage)).catalogue.num_items


def _bodies(settings: ServeSettings) -> Iterator[str]:
    """Yield requests of users drawn at random."""
    ids = Examples.open(Storage(settings.storage.root, settings.recommender)).user_ids
    chosen = np.random.default_rng(0).choice(len(ids), min(NUM_USERS, len(ids)), replace=False)
    for index in chosen.tolist():
        yield json.dumps({"user_id": ids[index]})


@contextmanager
def _servers(options: argparse.Namespace, folder: Path) -> Iterator[dict[str, Client]]:
    """Start all; a service first, because it fills the online store."""
    metrics = folder / "metrics"
    metrics.mkdir()
    names = options.servers
    ports = {name: free_port("127.0.0.1") for name in names}
    commands = {}
    for name in names:
        overrides = [*options.overrides, *OVERRIDES.get(name, OVERRIDES["serve"])]
        if name == "plain":
            commands[name] = _plain_command(options.config, ports[name], metrics, overrides)
        else:
            environment = ["env", *DEFAULTS] if name == "naive" else []
            commands[name] = [*environment, *serve_command(options.config, ports[name], overrides)]
    with ExitStack() as running:
        yield {
            name: running.enter_context(
                ServiceProcess(command, ports[name], folder / f"{name}.log")
            )
            for name, command in commands.items()
        }


def _plain_command(config: Path, port: int, metrics: Path, overrides: list[str]) -> list[str]:
    environment = [f"{name}={value}" for name, value in replica_environment(metrics).items()]
    command = ["env", *environment, sys.executable, "-m", "benchmarks.plain_http", str(config)]
    sets = [part for override in overrides for part in ("--set", override)]
    return [*command, str(port), str(metrics), *sets]


def _rounds(
    servers: dict[str, Client], bodies: Path, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """Yield what each run of the load generator measured, the order turning every round."""
    names = sorted(servers)
    for number in range(options.rounds):
        for clients in CLIENTS:
            for name in names if number % 2 else reversed(names):
                load = _load(servers[name].port, bodies, clients, options.seconds)
                assert load["failures"] == 0, load
                sys.stderr.write(f"round {number + 1}: {name} {load}\n")
                yield {"server": name, "round": number, **load}


def _load(port: int, bodies: Path, clients: int, seconds: float) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.load", str(port), str(bodies)]
    command += ["--clients", str(clients), "--seconds", str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _rows(loads: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return medians over the rounds by server and number of clients."""
    keys = sorted({(load["server"], load["clients"]) for load in loads})
    rows = []
    for server, clients in keys:
        runs = [load for load in loads if (load["server"], load["clients"]) == (server, clients)]
        figures = {
            name: round(statistics.median(run[name] for run in runs), 2)
            for name in ("throughput", "p50_ms", "p99_ms")
        }
        rows.append({"server": server, "clients": clients, **figures})
    return rows


def _ratios(loads: list[dict[str, Any]]) -> dict[str, Any]:
    """Return throughput at saturation, and the median latency of one client, against plain.

    Medians of the rounds' own ratios: within a round the machine's speed changes least.
    """
    rounds = sorted({load["round"] for load in loads})
    by_round = [_ratios_of([load for load in loads if load["round"] == one]) for one in rounds]
    ratios: dict[str, Any] = {
        name: round(statistics.median(own[name] for own in by_round), 3) for name in by_round[0]
    }
    return ratios | {"ratios_by_round": by_round}


def _ratios_of(loads: list[dict[str, Any]]) -> dict[str, float]:
    alone = {load["server"]: load["p50_ms"] for load in loads if load["clients"] == 1}
    best = {
        name: max(load["throughput"] for load in loads if load["server"] == name) for name in alone
    }
    ratios = {"p50_ms": round(alone["serve"], 2)}
    for name in sorted(set(alone) - {"plain"}):
        prefix = "" if name == "serve" else f"{name}_"
        ratios[f"{prefix}throughput_ratio"] = round(best[name] / best["plain"], 3)
        ratios[f"{prefix}p50_ratio"] = round(alone[name] / alone["plain"], 3)
    return ratios


def _candidates(client: Client) -> float:
    """Return how many candidates were ranked per answer, by the service's own counts."""
    counts = {}
    for line in client.get("/metrics")[1].decode().splitlines():
        name, _, value = line.rpartition(" ")
        counts[name] = value
    ranked = float(counts['millrace_stage_in_total{stage="rank"}'])
    return round(ranked / float(counts['millrace_stage_seconds_count{stage="rank"}']), 1)


if __name__ == "__main__":
    command = parser("benchmarks.serve_http", "Compare Ray Serve with plain uvicorn.")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--seconds", type=float, default=5.0)
    command.add_argument(
        "--servers", nargs="+", choices=SERVERS, default=SERVERS, help="serve and plain at least"
    )
    sys.exit(run(command, ServeSettings, main))
