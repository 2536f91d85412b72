"""How much each task's loss counts: as configured, by its uncertainty, or by its gradients."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from models.tables.workers import Workers

TaskWeightsName = Literal["fixed", "uncertainty", "gradnorm"]
PACE = 10.0
"""Learned weights move this much faster than the network's."""
ASYMMETRY = 0.5
MIN_LOSS = 1e-3


class FixedWeights(nn.Module):
    """The configured weights.

    Args:
        weights: of the tasks.
        first: their losses before training.
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float], first: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights), persistent=False)

    def forward(self, losses: Tensor, shared: Tensor) -> Tensor:
        """Sum losses (tasks,)."""
        return (losses * self.weights).sum()


class UncertaintyWeights(nn.Module):
    """Divides each loss by a learned variance, whose logarithm it costs (Kendall et al., 2018).

    The variances start where they would settle if the losses stayed: a rare task, whose
    cross-entropy is small, counts from the first step.

    Args:
        weights: of the tasks; they multiply both.
        first: their losses before training.
    """

    weights: Tensor

    def __init__(self, weights: Sequence[float], first: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("weights", torch.tensor(weights), persistent=False)
        settled = 2 * torch.tensor(first).clamp(min=MIN_LOSS)
        self.log_variance = nn.Parameter(settled.log() / PACE)

    def forward(self, losses: Tensor, shared: Tensor) -> Tensor:
        """Sum losses (tasks,)."""
        log_variance = PACE * self.log_variance
        return (self.weights * (torch.exp(-log_variance) * losses + log_variance / 2)).sum()


class GradientWeights(nn.Module):
    """Balances the tasks' gradients at what they share (Chen et al., GradNorm, ICML 2018).

    A task whose loss has fallen less than the others' from its first value pulls harder. The
    gradients are taken at the shared features rather than at a layer's weights, which costs a
    backward pass of the heads alone. Several workers measure them over their batches together.

    Args:
        weights: of the tasks; the shares that the gradients' norms are balanced to.
        first: their losses before training.
    """

    weights: Tensor
    first: Tensor

    def __init__(self, weights: Sequence[float], first: Sequence[float]) -> None:
        super().__init__()
        shares = torch.tensor(weights) / max(math.fsum(weights), 1e-12)
        self.register_buffer("weights", shares, persistent=False)
        self.register_buffer("first", torch.tensor(first).clamp(min=MIN_LOSS), persistent=False)
        self.total = math.fsum(weights)
        self.scores = nn.Parameter(shares.clamp(min=1e-6).log() / PACE)
        self._workers: Workers | None = None

    def forward(self, losses: Tensor, shared: Tensor) -> Tensor:
        """Sum losses (tasks,) that were computed from `shared`."""
        learned = torch.softmax(PACE * self.scores, dim=0)
        if not torch.is_grad_enabled():
            return (learned * losses).sum() * self.total
        norms, means = self._measured(losses, shared)
        with torch.no_grad():
            left = means / self.first
            pace = (left / left.mean().clamp(min=1e-8)) ** ASYMMETRY
            wanted = self.weights * pace
            wanted = wanted / wanted.sum() * (learned * norms).sum()
        imbalance = (learned * norms - wanted).abs().sum() / norms.mean().clamp(min=1e-12)
        return (learned.detach() * losses).sum() * self.total + imbalance

    def _measured(self, losses: Tensor, shared: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients' norms and the losses, (tasks,) each, of all workers' batches.

        The loss of all is the mean of the workers' losses, so its gradient at one worker's
        features is that worker's own divided by the number of workers.
        """
        norms = torch.stack([_norm(loss, shared) for loss in losses])
        self._workers = self._workers or Workers.connected()
        if self._workers.num_workers == 1:
            return norms, losses.detach()
        squares, sums = self._workers.all(torch.stack([norms**2, losses.detach()])).sum(0)
        return squares.sqrt() / self._workers.num_workers, sums / self._workers.num_workers


TASK_WEIGHTS: dict[TaskWeightsName, Callable[[Sequence[float], Sequence[float]], nn.Module]] = {
    "fixed": FixedWeights,
    "uncertainty": UncertaintyWeights,
    "gradnorm": GradientWeights,
}


def _norm(loss: Tensor, shared: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
    norm: Tensor = loss.new_zeros(()) if gradient is None else gradient.detach().norm()
    return norm
