"""Tables and memory: too large for one worker under a cap, trained by two under the same cap."""

import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from cluster.errors import InputError
from models.embedding import EmbeddingTable, deferred_tables
from models.tables.optimizer import Learning
from models.tables.placed import PlacedTables
from models.tables.placement import PlacementName
from models.tables.row_shards import rows_of
from models.tables.workers import Workers
from tests.gloo import run_workers

ROWS, DIM, TABLES = 1_000_000, 64, 3
CAP_BYTES = 650 * 2**20
"""On top of what an idle worker takes; the tables take 780 MB."""


class Large(nn.Module):
    """Several tables, looked up together."""

    def __init__(self) -> None:
        super().__init__()
        with deferred_tables():
            self.tables = nn.ModuleList(EmbeddingTable(ROWS, DIM) for _ in range(TABLES))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return a scalar of all tables."""
        return sum(table.pooled(ids, ids >= 0).square().sum() for table in self.tables)


def trained_under_a_cap(placement: PlacementName) -> list[float] | str:
    """Cap this worker's memory and train; return the losses, or the error's line."""
    workers = Workers.connected()
    warm_up = PlacedTables(EmbeddingTable(8, 2), {"default": "replicated"}, Learning())
    assert not warm_up.is_sharded
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + CAP_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    torch.manual_seed(0)
    model = Large()
    learning = Learning("rowwise_adagrad", 0.1)
    try:
        PlacedTables(model, {"default": placement}, learning, workers=workers)
    except InputError as error:
        return str(error)
    generator = torch.Generator().manual_seed(workers.rank)
    ids = torch.randint(0, ROWS, (64, 20), generator=generator)
    losses = []
    for _ in range(3):
        loss = model(ids)
        loss.backward()
        losses.append(float(loss.detach()))
    return losses


def test_two_workers_train_tables_that_exceed_the_memory_of_each(tmp_path: Path) -> None:
    for losses in run_workers(trained_under_a_cap, 2, tmp_path / "run", "row_sharded"):
        first, _, last = losses
        assert last < first


def test_one_worker_alone_says_what_it_lacks_and_what_would_help(tmp_path: Path) -> None:
    (line,) = run_workers(trained_under_a_cap, 1, tmp_path / "run", "replicated")
    assert line.startswith(
        "embedding table 'tables.2', 1,000,000 rows x 64 (whole, rowwise_adagrad)"
    )
    assert "needs 0.26 GB, the machine has 0." in line
    assert 'set train.embedding_placement = "row_sharded"' in line
    assert "\n" not in line


def test_adamw_counts_its_moments() -> None:
    with deferred_tables():
        table = EmbeddingTable(10**12, 64)
    with pytest.raises(InputError, match=r"needs 1024000\.00 GB.*rowwise_adagrad"):
        PlacedTables(table, {"default": "local"}, Learning("adamw"))


def test_a_whole_table_that_memory_does_not_hold_lies_in_a_file() -> None:
    kept = rows_of(1000, torch.zeros(1, 8), share=0.0)
    kept[:] = 3.0
    assert kept.shape == (1000, 8)
    assert float(kept.sum()) == 24_000.0
    assert rows_of(1000, torch.zeros(1, 8)).shape == (1000, 8)
