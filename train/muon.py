"""Muon: matrices learn by orthogonalised momentum, everything else by AdamW."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
DECAY = 0.1
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
SMALLEST_NORM = 1e-7


class Muon(torch.optim.AdamW):
    """AdamW, but the matrices move by an update whose singular values are all about one.

    A gradient's few strong directions then do not drown the many weak ones (Jordan et al. 2024).
    A matrix with more rows than columns counts as several square ones below each other: fused
    projections are no single map.

    Args:
        matrices: weights (out, in) of linear layers.
        groups: AdamW's parameter groups.
        rate: AdamW's learning rate.
        matrix_rate: the matrices' learning rate while the groups' is `rate`; follows its schedule.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        groups: list[dict[str, Any]],
        *,
        rate: float,
        matrix_rate: float,
    ) -> None:
        turned = {"params": list(matrices), "orthogonal": matrix_rate / rate}
        others = [{**group, "orthogonal": 0.0} for group in groups]
        super().__init__([turned, *others], lr=rate, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            if group["orthogonal"]:
                self._turn(group)
        return super().step()

    def _turn(self, group: dict[str, Any]) -> None:
        """Move matrices and drop their gradients, so that AdamW passes them by."""
        rate = float(group["lr"]) * group["orthogonal"]
        for matrix in group["params"]:
            if matrix.grad is None:
                continue
            momentum = self._momentum(matrix)
            momentum.lerp_(matrix.grad, 1.0 - MOMENTUM)
            update = orthogonal(_squares(matrix.grad.lerp(momentum, MOMENTUM)))
            matrix.mul_(1.0 - rate * DECAY).add_(update.view_as(matrix), alpha=-rate)
            matrix.grad = None

    def _momentum(self, matrix: nn.Parameter) -> Tensor:
        state = self.state[matrix]
        if not state:
            # AdamW looks for the step of every state that it loads.
            state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(matrix)}
        momentum: Tensor = state["momentum"]
        return momentum


def orthogonal(matrices: Tensor) -> Tensor:
    """Bring the singular values of matrices (n, rows, columns) near one, their vectors unchanged.

    Five steps of a Newton-Schulz iteration of fifth order, whose coefficients trade exactness
    (0.7 to 1.2) for speed.
    """
    a, b, c = NEWTON_SCHULZ
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if is_tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=SMALLEST_NORM)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    turned: Tensor = x.transpose(1, 2) if is_tall else x
    return turned


def _squares(matrix: Tensor) -> Tensor:
    """View a tall matrix whose rows are a multiple of its columns as square ones."""
    rows, columns = matrix.shape
    height = columns if rows % columns == 0 else rows
    return matrix.view(-1, height, columns)
