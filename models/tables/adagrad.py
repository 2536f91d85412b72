"""Row-wise Adagrad: one accumulator per row, and a step costs what it touches."""

import torch
from torch import Tensor

from models.tables.gradients import RowGradients
from models.tables.optimizer import Learning

EPSILON = 1e-8


class RowwiseAdagrad:
    """Adagrad (Duchi et al. 2011) with the mean square of a row's gradient for all its elements.

    Weight decay is decoupled, and falls on a row when a step touches it.

    Args:
        weight: the rows (n, dim).
        learning: rate and decay.
    """

    def __init__(self, weight: Tensor, learning: Learning) -> None:
        self.weight = weight
        self.learning_rate = learning.learning_rate
        self.weight_decay = learning.weight_decay
        self.accumulator = weight.new_zeros(len(weight))

    @staticmethod
    def bytes_per_row(dim: int) -> int:
        """Return the size of a row with its state."""
        return 4 * (dim + 1)

    def update(self, gradients: RowGradients) -> None:
        """Add the squares, then step by their root; consumes the sums."""
        ids, sums = gradients.ids, gradients.sums
        squares = torch.linalg.vector_norm(sums, dim=1).square_().div_(sums.shape[1])
        squares += self.accumulator.index_select(0, ids)
        self.accumulator.scatter_(0, ids, squares)
        sums.mul_((squares.sqrt_() + EPSILON).reciprocal_().mul_(-self.learning_rate)[:, None])
        if self.weight_decay:
            sums.add_(
                self.weight.index_select(0, ids), alpha=-self.learning_rate * self.weight_decay
            )
        self.weight.index_add_(0, ids, sums)

    def state(self) -> dict[str, Tensor]:
        """Return the accumulator."""
        return {"accumulator": self.accumulator}
