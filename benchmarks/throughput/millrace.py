"""Ours: the project's tables, softmax and training loop on the benchmark's model and data."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.throughput.common import LEARNING_RATE
from benchmarks.throughput.rounds import connect, timed
from benchmarks.throughput.towers import TEMPERATURE, Towers
from benchmarks.throughput.unsaved import UnsavedRuntime
from benchmarks.throughput.world import Batch, Sizes, World
from models.embedding import EmbeddingTable
from models.gathering import gathered
from models.losses import softmax_loss
from models.softmax_rows import SoftmaxRows
from models.tables.placement import PlacementName
from models.tables.workers import Workers
from train.config import ModelTraining
from train.loop import fit
from train.runtime import Runtime

TABLE_LEARNING_RATE = 0.05
ENDLESS = 10**9


class MillraceTwoTower(nn.Module):
    """Both towers over our tables; returns the chunked softmax loss over the candidates."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.users = EmbeddingTable(sizes.users, sizes.dim)
        self.items = EmbeddingTable(sizes.items, sizes.dim)
        self.towers = Towers(sizes)
        self.workers = Workers.connected()
        self.losses = [torch.zeros(())]

    def forward(self, batch: Batch) -> tuple[Tensor, Batch]:
        """Score the users against the step's candidates."""
        everywhere = torch.ones_like(batch["histories"], dtype=torch.bool)
        history = self.items.ask_pooled(batch["histories"], everywhere)
        known = self.users.ask_rows(batch["users"])
        candidates = self.items.ask_rows(self._own(batch["candidates"]))
        users = self.towers.users(torch.cat([known.take(), history.take()], 1))
        items = self.towers.items(candidates.take())
        if self.workers.num_workers > 1:
            items = gathered(items, self.workers)
        weights = torch.full((len(users),), 1.0 / len(users))
        rows = SoftmaxRows(batch["positions"], weights, torch.zeros(len(items)))
        loss = softmax_loss(users, items, scale=torch.tensor(1.0 / TEMPERATURE), rows=rows)
        self.losses[0] = loss.detach()
        return loss, {}

    def _own(self, ids: Tensor) -> Tensor:
        """Return the candidates whose vectors this worker computes: its share of them."""
        share = len(ids) // self.workers.num_workers
        return ids[self.workers.rank * share :][:share]


class Rounds:
    """The objective of an endless epoch that trains as many steps as the benchmark asks for."""

    monitor = "none"

    def __init__(self, address: str, name: str, world: World) -> None:
        self.address = address
        self.name = name
        self.world = world
        self.two_tower = MillraceTwoTower(world.sizes)
        self.model: nn.Module = self.two_tower

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam over the towers."""
        return torch.optim.Adam(self.two_tower.towers.parameters(), lr=LEARNING_RATE, fused=True)

    def num_steps(self, num_workers: int) -> int:
        """Return more than will be asked for."""
        return ENDLESS

    def batches(self, epoch: int, rank: int, num_workers: int) -> Iterator[Batch]:
        """Yield batches on demand."""
        connection = connect(self.address, self.name, rank)
        batches = self.world.batches(rank, num_workers)
        yield from timed(connection, batches, self.two_tower.losses)

    def validate(self) -> dict[str, float]:
        """Compute nothing."""
        return {self.monitor: 0.0}


@dataclass(frozen=True)
class TrainMillrace:
    """What every worker runs, under Ray Train and under torchrun; picklable."""

    address: str
    name: str
    world_path: Path
    training: ModelTraining

    def __call__(self, launched: Runtime | None = None) -> None:
        """Train with the project's loop as often as asked; the launcher's runtime would save."""
        torch.manual_seed(0)
        objective = Rounds(self.address, self.name, World(self.world_path))
        fit(objective, self.training, UnsavedRuntime(), {"default": placement_of(self.name)})


def placement_of(name: str) -> PlacementName:
    """Return where a variant of ours has its tables; those named `..._sharded` cut them."""
    return "row_sharded" if name.endswith("_sharded") else "replicated"


def training_of(name: str) -> ModelTraining:
    """Return how a variant of ours trains; those named `..._fp32` in full precision."""
    return ModelTraining(
        epochs=1,
        learning_rate=LEARNING_RATE,
        embedding_optimizer="rowwise_adagrad",
        embedding_learning_rate=TABLE_LEARNING_RATE,
        precision="fp32" if name.endswith("_fp32") else "bf16",
        checkpoint_minutes=ENDLESS,
    )
