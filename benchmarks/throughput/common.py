"""The common practice: nn.Embedding with dense gradients, Adam, the whole batch x batch softmax."""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.throughput.rounds import connect, timed
from benchmarks.throughput.towers import TEMPERATURE, Towers
from benchmarks.throughput.world import Batch, Sizes, World

LEARNING_RATE = 1e-3


class CommonTwoTower(nn.Module):
    """Both towers in plain torch; returns the in-batch softmax loss."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.users = nn.Embedding(sizes.users, sizes.dim)
        self.items = nn.Embedding(sizes.items, sizes.dim)
        self.towers = Towers(sizes)

    def forward(self, batch: Batch) -> Tensor:
        """Score every user of the batch against every target of the batch."""
        history = self.items(batch["histories"]).mean(1)
        users = self.towers.users(torch.cat([self.users(batch["users"]), history], 1))
        items = self.towers.items(self.items(batch["targets"]))
        return in_batch_softmax(users, items)


def in_batch_softmax(users: Tensor, items: Tensor) -> Tensor:
    """Return the mean cross entropy of each user's own item among all of the batch."""
    labels = torch.arange(len(users), device=users.device)
    return nn.functional.cross_entropy(users @ items.T / TEMPERATURE, labels)


def train_common(address: str, name: str, world: World) -> None:
    """Train under plain DDP as often as asked."""
    rank, num_workers = torch.distributed.get_rank(), torch.distributed.get_world_size()
    replica = DistributedDataParallel(CommonTwoTower(world.sizes))
    optimizer = torch.optim.Adam(replica.parameters(), lr=LEARNING_RATE)
    losses: list[torch.Tensor] = [torch.zeros(())]
    batches = world.batches(rank, num_workers)
    for batch in timed(connect(address, name, rank), batches, losses):
        optimizer.zero_grad()
        loss = replica(batch)
        losses[0] = loss.detach()
        loss.backward()
        optimizer.step()
