"""The training loop and the tables on a GPU end where they end on a CPU."""

from pathlib import Path

import pytest
import torch
from pyarrow import fs

from models.embedding import EmbeddingTable
from models.tables.optimizer import Learning, OptimizerName
from models.tables.placed import PlacedTables
from tests.linear import IDENTITY, LinearObjective, Silence
from train.checkpoints import Checkpoints
from train.config import ModelTraining
from train.loop import fit
from train.plain import PlainRuntime

pytestmark = pytest.mark.gpu

ROWS, DIM, STEPS = 50, 8, 6


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("bf16", 0.05)])
def test_a_gpu_learns_what_a_cpu_learns(tmp_path: Path, precision: str, tolerance: float) -> None:
    training = ModelTraining.model_validate(
        {"epochs": 4, "batch_size": 64, "learning_rate": 0.1, "precision": precision}
    )
    weights = []
    for use_gpu in (False, True):
        folder = Checkpoints(fs.LocalFileSystem(), str(tmp_path / f"{use_gpu}"), IDENTITY)
        objective = LinearObjective(training)
        objective.validate = lambda: {"fit": 0.0}  # type: ignore[method-assign]
        fit(objective, training, PlainRuntime(folder, Silence(), use_gpu=use_gpu))
        weights.append(objective.model.get_parameter("layer.weight").cpu())
    torch.testing.assert_close(weights[1], weights[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", ["adamw", "rowwise_adagrad"])
def test_tables_on_a_gpu_learn_what_they_learn_on_a_cpu(optimizer: OptimizerName) -> None:
    rows = [_trained(torch.device(kind), optimizer) for kind in ("cpu", "cuda")]
    torch.testing.assert_close(rows[1], rows[0], rtol=1e-4, atol=1e-5)


def _trained(device: torch.device, optimizer: OptimizerName) -> torch.Tensor:
    torch.manual_seed(3)
    table = EmbeddingTable(ROWS, DIM).to(device)
    tables = PlacedTables(table, {"default": "local"}, Learning(optimizer, 0.1), device=device)
    generator = torch.Generator().manual_seed(4)
    for _ in range(STEPS):
        ids = torch.randint(0, ROWS, (30, 5), generator=generator).to(device)
        wanted = torch.randn(30, DIM, generator=generator).to(device)
        pooled = table.pooled(ids, ids > 9) + table.rows(ids[:, 0])
        ((pooled - wanted) ** 2).sum().backward()  # type: ignore[no-untyped-call]
    tables.release()
    return table.weight.detach().cpu()
