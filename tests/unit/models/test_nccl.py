"""Sharded tables over NCCL: what they learn is what a plain table learns on a CPU."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from models.embedding import EmbeddingTable
from models.tables.adagrad import RowwiseAdagrad
from models.tables.exchange import Exchange
from models.tables.optimizer import Learning
from models.tables.placed import PlacedTables
from models.tables.routes import RowRouter
from models.tables.row_shards import RowShards
from models.tables.workers import Workers

pytestmark = pytest.mark.gpu

TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture
def nccl(tmp_path: Path) -> Iterator[Workers]:
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("nccl", store=store, rank=0, world_size=1)
    yield Workers(0, 1, dist.new_group())
    dist.destroy_process_group()


@pytest.mark.parametrize(("bags", "size"), [(3, 200), (300, 1)])
def test_shards_exchange_over_nccl(nccl: Workers, bags: int, size: int) -> None:
    torch.manual_seed(0)
    plain = EmbeddingTable(1000, 8)
    rows = plain.weight.detach().cuda()
    learning = Learning("rowwise_adagrad", 0.1)
    callbacks: list[str] = []
    due = partial(callbacks.append, "due")
    exchange, optimizer = Exchange(nccl), RowwiseAdagrad(rows, learning)
    shards = RowShards(rows, optimizer, RowRouter(1000, nccl), exchange=exchange, due=due)
    PlacedTables(plain, {"default": "local"}, learning)
    ids = torch.randint(0, 1000, (bags, size))
    mask = torch.rand(bags, size) < 0.7
    asked = shards.ask_pooled(ids.cuda(), mask.cuda()), shards.ask_rows(ids.cuda())
    pooled, found = (part.take() for part in asked)
    torch.testing.assert_close(pooled.cpu(), plain.pooled(ids, mask), **TOLERANCE)
    (pooled.square().sum() + found.sum()).backward()
    (plain.pooled(ids, mask).square().sum() + plain.rows(ids).sum()).backward()
    assert callbacks
    exchange.bring_back()
    shards.collect()
    torch.testing.assert_close(rows.cpu(), plain.weight.detach(), **TOLERANCE)
    torch.testing.assert_close(shards.whole(), rows.cpu(), **TOLERANCE)
