"""What an answer costs that is repeated, that finds only the user in caches, or that finds nothing.

.venv/bin/python -m benchmarks.serve_cache CONFIG [--users 200] [--set ...]

One process without Ray and HTTP: the pipeline with caches and the pipeline without, in turn, over
the same store. Every user asks for a page, for the next one (without the first page's items) and
for the first one again. Figures are medians of the process's CPU time, which other work on the
machine hardly changes.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import facts
from cluster.command import parser, run
from cluster.storage import Storage
from features.examples import Examples
from retrieval.registry import champion
from serve.caches.caches import Caches
from serve.caches.config import CacheConfig
from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.messages import Answer, Request
from serve.metrics import Metrics
from serve.pipeline import Pipeline
from serve.preparation import prepare
from serve.service import Service
from serve.shared import Shared
from serve.topology import PLACED
from serve.warming import warm

RESULTS = Path(__file__).parent / "results" / "serve_cache.json"
LONG = CacheConfig.model_validate({"answers": {"max_age": "10m"}})
PACKAGES = ("torch", "faiss-cpu", "numpy", "lmdb")


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Measure, print one JSON line and keep it."""
    torch.set_num_threads(1)
    prepare(settings)
    metrics = Metrics()
    folder = champion(Storage(settings.storage.root, settings.recommender))
    cached = Equipment.open(settings, folder, Shared(settings, Caches(LONG, metrics)))
    plain = Equipment.open(settings, folder)
    vars(plain)["users"] = cached.users
    for equipment in (cached, plain):
        warm(equipment, PLACED)
    medians = asyncio.run(_medians(_pipeline(cached, metrics), _pipeline(plain), options, settings))
    result = {
        "benchmark": "serve_cache",
        **medians,
        "hits": _hits(metrics),
        "recommender": settings.recommender,
        "bundle": cached.bundle.id,
        "users": options.users,
        **facts(*PACKAGES),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def _pipeline(equipment: Equipment, metrics: Metrics | None = None) -> Pipeline:
    return Service(equipment, equipment.local(), metrics or Metrics()).answering.pipeline


async def _medians(
    cached: Pipeline, plain: Pipeline, options: argparse.Namespace, settings: ServeSettings
) -> dict[str, float]:
    """Return median milliseconds by what was asked of which pipeline."""
    spent: dict[str, list[float]] = defaultdict(list)
    for user_id in _users(settings, options.users):
        first = Request(user_id=user_id)
        ms, answer = await _answered(plain, first)
        spent["computed_ms"].append(ms)
        spent["missed_ms"].append((await _answered(cached, first))[0])
        page = Request(user_id=user_id, exclude=[item.item_id for item in answer.items])
        spent["next_page_computed_ms"].append((await _answered(plain, page))[0])
        spent["next_page_ms"].append((await _answered(cached, page))[0])
        spent["repeated_ms"].append((await _answered(cached, first))[0])
    return {name: round(statistics.median(ms), 3) for name, ms in spent.items()}


async def _answered(pipeline: Pipeline, request: Request) -> tuple[float, Answer]:
    """Return the milliseconds that an answer took, and the answer."""
    started = time.process_time()
    answer = await pipeline.answer(request, "measured")
    spent_ms = 1000 * (time.process_time() - started)
    assert answer.degraded is None, answer.degraded
    return spent_ms, answer


def _users(settings: ServeSettings, num_users: int) -> Iterator[Any]:
    """Yield the ids of users drawn at random."""
    ids = Examples.open(Storage(settings.storage.root, settings.recommender)).user_ids
    chosen = np.random.default_rng(0).choice(len(ids), min(num_users, len(ids)), replace=False)
    for index in chosen.tolist():
        yield ids[index]


def _hits(metrics: Metrics) -> dict[str, int]:
    """Return how often each cache had what it was asked for."""
    found = {}
    for line in metrics.render().decode().splitlines():
        if line.startswith("millrace_cache_hits_total"):
            name, _, value = line.rpartition(" ")
            found[name.split('"')[1]] = int(float(value))
    return found


if __name__ == "__main__":
    command = parser("benchmarks.serve_cache", "Measure what caches save.")
    command.add_argument("--users", type=int, default=200)
    sys.exit(run(command, ServeSettings, main))
