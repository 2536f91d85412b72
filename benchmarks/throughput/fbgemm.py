"""TorchRec's two towers: FBGEMM's fused tables with row-wise Adagrad, with either softmax."""

from typing import Any

import torch
import torchrec
from torch import Tensor, nn
from torch.distributed import optim
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.keyed import KeyedOptimizerWrapper
from torchrec.optim.optimizers import in_backward_optimizer_filter

from benchmarks.throughput.common import LEARNING_RATE, in_batch_softmax
from benchmarks.throughput.rounds import connect, timed
from benchmarks.throughput.towers import TEMPERATURE, Towers
from benchmarks.throughput.world import Batch, Sizes, World
from models.losses import softmax_loss
from models.softmax_rows import SoftmaxRows

TABLE_LEARNING_RATE = 0.05


class TorchRecTwoTower(nn.Module):
    """Both towers over one EmbeddingBagCollection; returns the loss.

    Args:
        sizes: of tables and towers.
        is_chunked: our chunked softmax in bfloat16 instead of the whole matrix in float32.
    """

    def __init__(self, sizes: Sizes, *, is_chunked: bool) -> None:
        super().__init__()
        self.is_chunked = is_chunked
        self.bags = torchrec.EmbeddingBagCollection(_tables(sizes), device=torch.device("meta"))
        apply_in_backward: Any = vars(optim)["_apply_optimizer_in_backward"]
        apply_in_backward(
            torchrec.optim.RowWiseAdagrad, self.bags.parameters(), {"lr": TABLE_LEARNING_RATE}
        )
        self.towers = Towers(sizes)

    def forward(self, batch: Batch) -> Tensor:
        """Score the users against the batch's targets, or the same number of candidates."""
        num_rows, history = batch["histories"].shape
        ids = batch["candidates" if self.is_chunked else "targets"]
        once = torch.ones(num_rows, dtype=torch.int64)
        pooled = self.bags(
            torchrec.KeyedJaggedTensor(
                ["user", "history", "item"],
                torch.cat([batch["users"], batch["histories"].flatten(), ids]),
                lengths=torch.cat([once, once * history, once]),
            )
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_chunked):
            users = self.towers.users(torch.cat([pooled["user"], pooled["history"]], 1))
            items = self.towers.items(pooled["item"])
            return self._loss(users, items, batch)

    def _loss(self, users: Tensor, items: Tensor, batch: Batch) -> Tensor:
        if not self.is_chunked:
            return in_batch_softmax(users, items)
        weights = torch.full((len(users),), 1.0 / len(users))
        rows = SoftmaxRows(batch["positions"], weights, torch.zeros(len(items)))
        return softmax_loss(users, items, scale=torch.tensor(1.0 / TEMPERATURE), rows=rows)


def train_torchrec(address: str, name: str, world: World) -> None:
    """Train under TorchRec's DistributedModelParallel as often as asked."""
    rank, num_workers = torch.distributed.get_rank(), torch.distributed.get_world_size()
    module = TorchRecTwoTower(world.sizes, is_chunked=name == "torchrec_chunked")
    model = DistributedModelParallel(module, device=torch.device("cpu"))
    optimizer = KeyedOptimizerWrapper(
        dict(in_backward_optimizer_filter(model.named_parameters())), _adam
    )
    losses: list[torch.Tensor] = [torch.zeros(())]
    batches = world.batches(rank, num_workers)
    for batch in timed(connect(address, name, rank), batches, losses):
        optimizer.zero_grad()
        loss = model(batch)
        losses[0] = loss.detach()
        loss.backward()
        optimizer.step()


def _adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=LEARNING_RATE, fused=True)


def _tables(sizes: Sizes) -> list[Any]:
    features = {
        "user_table": (sizes.users, ["user"]),
        "item_table": (sizes.items, ["history", "item"]),
    }
    return [
        torchrec.EmbeddingBagConfig(
            name=name,
            embedding_dim=sizes.dim,
            num_embeddings=num_rows,
            feature_names=names,
            pooling=torchrec.PoolingType.MEAN,
        )
        for name, (num_rows, names) in features.items()
    ]
