"""A linear regression with dropout as a trainee: the smallest thing that the loop can train."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from pyarrow import fs

from models.embedding import EmbeddingTable
from models.tables.placement import DEFAULT, PlacementName
from tests.deaths import Death, die_once
from train.checkpoints import Checkpoints
from train.config import ModelTraining
from train.loop import fit
from train.objective import Batch
from train.plain import PlainRuntime
from train.progress import Progress
from train.runtime import Runtime

NUM_ROWS, NUM_INPUTS = 512, 8
IDENTITY = {"model": "linear", "seed": "0"}


class Linear(torch.nn.Module):
    """y = w x + b with dropout on x, and perhaps a value per owner from a table."""

    def __init__(self, dropout: float, num_owners: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(NUM_INPUTS, 1)
        self.dropout = torch.nn.Dropout(dropout)
        self.owners = EmbeddingTable(num_owners, 1) if num_owners else None

    def forward(self, batch: Batch) -> tuple[torch.Tensor, Batch]:
        """Return the squared error and the bias."""
        predicted = self.layer(self.dropout(batch["x"]))
        if self.owners is not None:
            predicted = predicted + self.owners.rows(batch["owner"])
        predicted = predicted.squeeze(1)
        loss = torch.nn.functional.mse_loss(predicted.float(), batch["y"])
        return loss, {"bias": self.layer.bias.detach().sum()}


class LinearObjective:
    """Rows of a known linear law; `batch_size` is split over the workers."""

    monitor = "fit"

    def __init__(
        self,
        training: ModelTraining,
        *,
        dropout: float = 0.0,
        step_s: float = 0.0,
        num_owners: int = 0,
    ) -> None:
        generator = torch.Generator().manual_seed(7)
        self.x = torch.randn(NUM_ROWS, NUM_INPUTS, generator=generator)
        self.y = self.x @ torch.arange(1.0, NUM_INPUTS + 1) + 0.5
        self.owner = torch.arange(NUM_ROWS) % max(num_owners, 1)
        self.training = training
        self.batch_size = training.batch_size or NUM_ROWS
        self.step_s = step_s
        torch.manual_seed(training.seed)
        self.model: torch.nn.Module = Linear(dropout, num_owners)
        self.validations = 0

    def optimizer(self) -> torch.optim.Optimizer:
        """Adam."""
        parameters = [weight for weight in self.model.parameters() if weight.requires_grad]
        return torch.optim.Adam(parameters, lr=self.training.learning_rate)

    def num_steps(self, num_workers: int) -> int:
        """Steps of a global batch each."""
        return NUM_ROWS // self.batch_size

    def batches(self, epoch: int, rank: int, num_workers: int) -> Iterator[Batch]:
        """Yield this worker's rows of every global batch."""
        order = np.random.default_rng((self.training.seed, epoch)).permutation(NUM_ROWS)
        for step in range(self.num_steps(num_workers)):
            rows = order[step * self.batch_size :][: self.batch_size]
            time.sleep(self.step_s)
            index = torch.from_numpy(rows[rank::num_workers].copy())
            yield self.rows(index)

    def rows(self, index: torch.Tensor) -> Batch:
        """Return rows as a batch."""
        return {"x": self.x[index], "y": self.y[index], "owner": self.owner[index]}

    def validate(self) -> dict[str, float]:
        """Return the negated loss over all rows."""
        self.validations += 1
        loss, _ = self.model(self.rows(torch.arange(NUM_ROWS)))
        return {"fit": -float(loss)}


class Silence:
    """A listener that only remembers."""

    def __init__(self) -> None:
        self.heard: list[Progress] = []

    def tell(self, progress: Progress) -> None:
        """Remember it."""
        self.heard.append(progress)


class MortalObjective(LinearObjective):
    """Dies where it is told to."""

    death: Death | None = None
    folder: Path

    def batches(self, epoch: int, rank: int, num_workers: int) -> Iterator[Batch]:
        """Yield batches until death."""
        for step, batch in enumerate(super().batches(epoch, rank, num_workers)):
            if self.death == Death(rank, epoch, step):
                die_once(self.folder / "scar")
            yield batch


def train_linear(
    training: ModelTraining,
    folder: Path,
    runtime: Runtime,
    *,
    death: Death | None = None,
    dropout: float = 0.0,
    num_owners: int = 0,
) -> None:
    """Train in any runtime and write `weights.pt`, `curves.json` and who trained into a folder.

    Args:
        training: how long and how fast.
        folder: where results go.
        runtime: where it happens.
        death: where a worker is killed, once.
        dropout: of the inputs.
        num_owners: rows of a table, which is cut over the workers.
    """
    with (folder / "starts.txt").open("a") as starts:
        starts.write(f"{runtime.rank}/{runtime.num_workers}\n")
    objective = MortalObjective(training, dropout=dropout, num_owners=num_owners)
    objective.death, objective.folder = death, folder
    placement: PlacementName = "row_sharded" if runtime.num_workers > 1 else "local"
    position = fit(objective, training, runtime, {DEFAULT: placement})
    if runtime.rank == 0:
        torch.save(objective.model.state_dict(), folder / "weights.pt")
        (folder / "curves.json").write_text(json.dumps(position.curves))


def train_slowly(folder: Path) -> None:
    """Train in this process with checkpoints in `folder`, then write `weights.pt` beside them."""
    training = ModelTraining(
        epochs=6, batch_size=32, learning_rate=0.05, patience=9, checkpoint_minutes=0.0005
    )
    objective = LinearObjective(training, dropout=0.3, step_s=0.004)
    checkpoints = Checkpoints(fs.LocalFileSystem(), str(folder / "run"), IDENTITY)
    fit(objective, training, PlainRuntime(checkpoints, Silence()))
    torch.save(objective.model.state_dict(), folder / "weights.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    train_slowly(Path(sys.argv[1]))
