"""The workers that train a model together, as its tables see them."""

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

    def _gathered(self, gradients: RowGradients) -> list[Contribution]:
        count = torch.tensor([len(gradients.ids)], device=gradients.ids.device)
        counts = self._all(count).tolist()
        size, dim = max(counts), gradients.sums.shape[1]
        ids = gradients.ids.new_zeros(size)
        sums = gradients.sums.new_zeros(size, dim)
        ids[: len(gradients.ids)] = gradients.ids
        sums[: len(gradients.ids)] = gradients.sums
        all_ids, all_sums = self._all(ids).view(-1, size), self._all(sums).view(-1, size, dim)
        return [
            Contribution.row_by_row(all_ids[rank, :own], all_sums[rank, :own])
            for rank, own in enumerate(counts)
        ]

    def _all(self, tensor: Tensor) -> Tensor:
        gathered = tensor.new_empty(self.num_workers * len(tensor), *tensor.shape[1:])
        dist.all_gather_into_tensor(gathered, tensor, group=self.group)
        return gathered
