"""AdamW over a table: exactly the dense optimizer, fed with the touched rows' gradients."""

import torch
from torch import Tensor

from models.tables.gradients import RowGradients
from models.tables.optimizer import Learning


class TableAdamW:
    """Every row moves at every step, as AdamW's momentum and decay have it.

    The cost of a step is that of the whole table: for tables of which a step touches little,
    `rowwise_adagrad` costs what is touched.

    Args:
        weight: the rows (n, dim).
        learning: rate and decay.
    """

    def __init__(self, weight: Tensor, learning: Learning) -> None:
        self.weight = weight
        self.learning_rate = learning.learning_rate
        self._gradient = torch.zeros_like(weight)
        self._optimizer = torch.optim.AdamW(
            [weight], lr=learning.learning_rate, weight_decay=learning.weight_decay, fused=True
        )
        self._optimizer.state[weight] = {
            "step": torch.zeros((), device=weight.device),
            "exp_avg": torch.zeros_like(weight),
            "exp_avg_sq": torch.zeros_like(weight),
        }

    @staticmethod
    def bytes_per_row(dim: int) -> int:
        """Return the size of a row with its state and its gradient."""
        return 4 * 4 * dim

    def update(self, gradients: RowGradients) -> None:
        """Step with the gradients of the touched rows and zeros for all others."""
        if not self.weight.numel():
            return
        self._gradient.index_copy_(0, gradients.ids, gradients.sums)
        self.weight.grad = self._gradient
        self._optimizer.param_groups[0]["lr"] = self.learning_rate
        self._optimizer.step()
        self.weight.grad = None
        self._gradient.index_fill_(0, gradients.ids, 0.0)

    def state(self) -> dict[str, Tensor]:
        """Return both moments and the number of steps."""
        state: dict[str, Tensor] = self._optimizer.state[self.weight]
        return dict(state)
