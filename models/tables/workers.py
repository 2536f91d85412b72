"""The workers that train a model together, as its tables see them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from models.tables.gradients import Contribution, RowGradients


@dataclass(frozen=True)
class Workers:
    """This process among `num_workers`; `group` is the tables' own, None where it is alone."""

    rank: int = 0
    num_workers: int = 1
    group: dist.ProcessGroup | None = None

    @classmethod
    def connected(cls) -> "Workers":
        """Return the workers that torch.distributed connects; called by all of them at once.

        The tables get a group of their own, so that nothing of theirs meets what DDP has in
        flight.
        """
        if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
            return cls()
        return cls(dist.get_rank(), dist.get_world_size(), dist.new_group())

    def averaged(self, gradients: RowGradients, weight: Tensor) -> RowGradients:
        """Return the mean over the workers, the same bits on all; only touched rows travel."""
        if self.num_workers == 1:
            return gradients
        averaged = RowGradients.summed(self._gathered(gradients), weight)
        averaged.sums.div_(self.num_workers)
        return averaged

    def all(self, tensor: Tensor) -> Tensor:
        """Gather tensors of one shape (...): (workers, ...)."""
        return self.crossed(tensor.expand(self.num_workers, *tensor.shape))

    def crossed(self, tensor: Tensor) -> Tensor:
        """Send part w of a tensor (workers, ...) to worker w; return what came, by worker."""
        sent = tensor.contiguous()
        received = torch.empty_like(sent)
        dist.all_to_all_single(received, sent, group=self.group)
        return received

    def exchanged(self, tensor: Tensor, sent: Sequence[int], received: Sequence[int]) -> Tensor:
        """Send the first `sent[0]` rows to worker 0, the next `sent[1]` to worker 1, and so on.

        Returns:
            `received[0]` rows of worker 0, then `received[1]` of worker 1, and so on.
        """
        output = tensor.new_empty(sum(received), *tensor.shape[1:])
        dist.all_to_all_single(
            output, tensor.contiguous(), list(received), list(sent), group=self.group
        )
        return output

    def send(self, rows: Tensor, *, to: int) -> None:
        """Send rows to a worker that receives them; nothing where there are none."""
        if rows.numel():
            dist.send(rows, group=self.group, group_dst=to)

    def receive(self, rows: Tensor, *, of: int) -> None:
        """Fill rows with what a worker sends."""
        if rows.numel():
            dist.recv(rows, group=self.group, group_src=of)

    def _gathered(self, gradients: RowGradients) -> list[Contribution]:
        own = len(gradients.ids)
        counts = self.all(torch.tensor([own], device=gradients.ids.device)).flatten().tolist()
        size, dim = max(counts), gradients.sums.shape[1]
        ids = gradients.ids.new_zeros(size)
        sums = gradients.sums.new_zeros(size, dim)
        ids[:own], sums[:own] = gradients.ids, gradients.sums
        all_ids, all_sums = self.all(ids), self.all(sums)
        return [
            Contribution.row_by_row(all_ids[rank, :count], all_sums[rank, :count])
            for rank, count in enumerate(counts)
        ]
