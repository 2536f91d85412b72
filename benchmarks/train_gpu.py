"""The two-tower step on one GPU: common practice against our tables, softmax and copies.

    python -m benchmarks.train_gpu [--batch 4096 65536] [--steps 50] [--rounds 5] [--device cuda]

Needs torch, numpy and this repository, nothing else: it runs on a bare machine, in one process.
Variants take turns; figures are medians over the rounds, in samples per second. `millrace_waiting`
is ours without pinned copies one step ahead.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.machine import cpu_model, facts
from benchmarks.throughput.common import LEARNING_RATE, CommonTwoTower
from benchmarks.throughput.towers import TEMPERATURE, Towers
from benchmarks.throughput.world import QUICK, Batch, Sizes, World
from models.losses import softmax_loss
from models.softmax_rows import SoftmaxRows
from models.tables.adagrad import RowwiseAdagrad
from models.tables.optimizer import Learning
from models.tables.whole import WholeTable
from models.tables.workers import Workers
from train.transfer import on_device

TABLE_LEARNING_RATE = 0.05
WARM_UP_STEPS = 5
MANY_EXAMPLES = 2**19
GB = 2**30

Step = Callable[[Batch], Tensor]


class Common:
    """The common practice: dense gradients, Adam, the whole softmax, float32."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self.model = CommonTwoTower(sizes).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=LEARNING_RATE)

    def __call__(self, batch: Batch) -> Tensor:
        """Make one step; return its loss."""
        loss: Tensor = self.model(batch)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()


class Millrace:
    """Our tables with row-wise Adagrad, the chunked softmax, bfloat16, fused Adam."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self.device = device
        self.users, self.items = (
            _table(num_rows, sizes.dim, device) for num_rows in (sizes.users, sizes.items)
        )
        self.towers = Towers(sizes).to(device)
        self.optimizer = torch.optim.Adam(self.towers.parameters(), lr=LEARNING_RATE, fused=True)
        self.scale = torch.tensor(1.0 / TEMPERATURE, device=device)

    def __call__(self, batch: Batch) -> Tensor:
        """Make one step; return its loss."""
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self._loss(batch)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for table in (self.users, self.items):
            table.collect()
        self.optimizer.step()
        return loss.detach()

    def _loss(self, batch: Batch) -> Tensor:
        histories = batch["histories"]
        history = self.items.ask_pooled(
            histories, torch.ones_like(histories, dtype=torch.bool)
        ).take()
        users = self.towers.users(
            torch.cat([self.users.ask_rows(batch["users"]).take(), history], 1)
        )
        items = self.towers.items(self.items.ask_rows(batch["candidates"]).take())
        weights = torch.full((len(users),), 1.0 / len(users), device=self.device)
        rows = SoftmaxRows(batch["positions"], weights, weights.new_zeros(len(items)))
        return softmax_loss(users, items, scale=self.scale, rows=rows)


class Endless:
    """A variant with its batches, in turn with others.

    Args:
        step: the variant.
        batches: on the device.
    """

    def __init__(self, step: Step, batches: Iterator[Batch]) -> None:
        self.step = step
        self.batches = batches
        self.loss = 0.0

    def rate(self, num_steps: int) -> float:
        """Run steps; return samples per second."""
        started = time.perf_counter()
        samples, loss = 0, torch.zeros(())
        for batch in islice(self.batches, num_steps):
            loss = self.step(batch)
            samples += len(batch["users"])
        self.loss = float(loss)  # waits for the device
        return samples / (time.perf_counter() - started)


def main(options: argparse.Namespace) -> None:
    """Measure every batch size; print one JSON line."""
    device = torch.device(options.device)
    rows = [_row(_sizes(batch, options), device, options) for batch in options.batch]
    result = {
        "benchmark": "train_gpu",
        "rows": rows,
        "steps": options.steps,
        "rounds": options.rounds,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else cpu_model(),
        **facts("torch"),
    }
    print(json.dumps(result))


def _sizes(batch: int, options: argparse.Namespace) -> Sizes:
    if options.quick:
        return replace(QUICK, batch=batch)
    return replace(Sizes(), batch=batch, num_batches=max(4, MANY_EXAMPLES // batch))


def _row(sizes: Sizes, device: torch.device, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        World.make(Path(folder), sizes)
        world = World(Path(folder))
        millrace = Millrace(sizes, device)
        waiting = ({n: t.to(device) for n, t in batch.items()} for batch in world.batches())
        variants = {
            "common": Endless(Common(sizes, device), on_device(world.batches(), device)),
            "millrace": Endless(millrace, on_device(world.batches(), device)),
            "millrace_waiting": Endless(millrace, waiting),
        }
        return {"batch": sizes.batch, **_measured(variants, options), "sizes": vars(sizes)}


def _measured(variants: dict[str, Endless], options: argparse.Namespace) -> dict[str, Any]:
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for variant in variants.values():
        variant.rate(WARM_UP_STEPS)
    for number in range(options.rounds):
        for name, variant in variants.items():
            rates[name].append(variant.rate(options.steps))
        last = {name: round(values[-1]) for name, values in rates.items()}
        sys.stderr.write(f"round {number + 1}, samples/s: {last}\n")
    figures: dict[str, Any] = {
        "samples_per_s": {name: round(statistics.median(v)) for name, v in rates.items()},
        "loss": {name: round(variant.loss, 4) for name, variant in variants.items()},
    }
    if torch.cuda.is_available():
        figures["peak_gb"] = round(torch.cuda.max_memory_allocated() / GB, 2)
    return figures


def _table(num_rows: int, dim: int, device: torch.device) -> WholeTable:
    rows = torch.randn(num_rows, dim, device=device).mul_(0.05)
    optimizer = RowwiseAdagrad(rows, Learning("rowwise_adagrad", TABLE_LEARNING_RATE))
    return WholeTable(rows, optimizer, Workers(), lambda: None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_gpu")
    parser.add_argument("--batch", type=int, nargs="+", default=[4_096, 65_536])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="a tiny model")
    main(parser.parse_args())
