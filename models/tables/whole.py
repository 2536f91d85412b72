"""A table whose rows are all in this process: the only one, or each worker's copy."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from models.tables.asked import Asked, AtHand
from models.tables.gradients import Contribution, RowGradients
from models.tables.lookup import Bags, looked_up
from models.tables.optimizer import TableOptimizer
from models.tables.workers import Workers


class WholeTable:
    """Looks up in its own memory; with several workers, each applies what all have touched.

    Args:
        weight: the rows (num_rows, dim).
        optimizer: lets them learn.
        workers: that hold copies; only touched rows travel between them.
        due: called when the first gradient of a step arrives.
    """

    def __init__(
        self, weight: Tensor, optimizer: TableOptimizer, workers: Workers, due: Callable[[], None]
    ) -> None:
        self.weight = weight
        self.optimizer = optimizer
        self.workers = workers
        self._due = due
        self._pending: list[Contribution] = []

    def ask_rows(self, ids: Tensor) -> Asked:
        """Ask for the vectors of ids (...): (..., dim)."""
        return AtHand(partial(self._rows, ids))

    def ask_pooled(self, ids: Tensor, mask: Tensor) -> Asked:
        """Ask for the mean over the last axis of ids (..., n) where mask: (..., dim), 0 of none."""
        return AtHand(partial(self._pooled, ids, mask))

    def collect(self) -> None:
        """Sum what the lookups of a step sent back, over all workers, and let the rows learn."""
        summed = RowGradients.summed(self._pending, self.weight)
        self._pending = []
        self.optimizer.update(self.workers.averaged(summed, self.weight))

    def state(self) -> dict[str, Tensor]:
        """Return the optimizer's state."""
        return self.optimizer.state()

    def _rows(self, ids: Tensor) -> Tensor:
        read = partial(torch.nn.functional.embedding, ids, self.weight)
        return looked_up(read, partial(self._add_rows, ids.reshape(-1)))

    def _pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        bags = Bags.of(ids, mask, self.weight.dtype)
        pooled = looked_up(partial(bags.means, self.weight), partial(self._add_bags, bags))
        return pooled.view(*ids.shape[:-1], self.weight.shape[1])

    def _add_rows(self, ids: Tensor, gradients: Tensor) -> None:
        gradients = self._flat(gradients)
        self._add(Contribution.row_by_row(ids, gradients))

    def _add_bags(self, bags: Bags, gradients: Tensor) -> None:
        self._add(Contribution(bags.ids, bags.source, self._flat(gradients) * bags.shares))

    def _add(self, contribution: Contribution) -> None:
        self._pending.append(contribution)
        self._due()

    def _flat(self, gradients: Tensor) -> Tensor:
        return gradients.reshape(-1, self.weight.shape[1]).to(self.weight.dtype).contiguous()
