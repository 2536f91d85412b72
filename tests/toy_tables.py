"""A model that looks tables up in every way, and its batches."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from models.embedding import EmbeddingTable

ROWS, DIM, BATCH, VALUES, STEPS = 23, 6, 12, 4, 7

Tensors = dict[str, Tensor]


class TwoTables(nn.Module):
    """Looks one table up three times and another once; a third one is not used."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.items = EmbeddingTable(ROWS, DIM)
        self.users = EmbeddingTable(ROWS // 2, DIM)
        self.idle = EmbeddingTable(2, 2)
        self.out = nn.Linear(DIM, 1)

    def forward(self, batch: Tensors) -> Tensor:
        """Return a scalar of all lookups, a sum over the batch."""
        history = self.items.pooled(batch["ids"], batch["mask"])
        users = self.users.rows(batch["users"])
        again = self.items.rows(batch["ids"])
        self.items.rows(batch["ids"][:1])
        joined = torch.tanh(self.out(history * users + again.sum(1)))
        return (joined.squeeze(1) * batch["targets"]).sum()


def batches(steps: int = STEPS) -> list[Tensors]:
    """Return batches of bags, one of them empty, users and targets."""
    generator = torch.Generator().manual_seed(2)
    made = []
    for _ in range(steps):
        mask = torch.rand(BATCH, VALUES, generator=generator) < 0.6
        mask[0] = False
        made.append(
            {
                "ids": torch.randint(0, ROWS, (BATCH, VALUES), generator=generator),
                "mask": mask,
                "users": torch.randint(0, 3, (BATCH,), generator=generator),
                "targets": torch.randn(BATCH, generator=generator),
            }
        )
    return made


def own_share(batch: Tensors) -> Tensors:
    """Return a worker's part of a batch; the first worker's is the smallest."""
    begin, end = (BATCH * (rank**2) // dist.get_world_size() ** 2 for rank in _here())
    return {name: tensor[begin:end] for name, tensor in batch.items()}


def tables_of(model: nn.Module) -> Tensors:
    """Copy the weights of the tables."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if "out" not in name}


def _here() -> tuple[int, int]:
    return dist.get_rank(), dist.get_rank() + 1
