"""The workers of one training as each sees the others: small objects that they exchange."""

from datetime import timedelta
from typing import Any

import torch

PATIENCE = timedelta(hours=12)
"""How long a worker waits for another that is still writing its part; a dead one is noticed."""


class Peers:
    """Exchanges small objects among workers; a worker that is alone exchanges with itself.

    Args:
        rank: of this worker.
        count: of the workers.
        group: that no other exchange uses, so that a thread may exchange beside the training.
    """

    def __init__(
        self, rank: int = 0, count: int = 1, group: torch.distributed.ProcessGroup | None = None
    ) -> None:
        self.rank = rank
        self.count = count
        self.group = group

    @classmethod
    def connected(cls) -> "Peers":
        """Connect the workers of torch's process group; all of them call it."""
        if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
            return cls()
        group = torch.distributed.new_group(backend="gloo", timeout=PATIENCE)
        return cls(torch.distributed.get_rank(), torch.distributed.get_world_size(), group)

    def all(self, value: Any) -> list[Any]:
        """Return everybody's value, by rank."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(values, value, group=self.group)
        return values

    def first(self, value: Any) -> Any:
        """Return rank 0's value."""
        return self.all(value if self.rank == 0 else None)[0]
