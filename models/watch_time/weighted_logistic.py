"""Watch times as the odds of a logistic regression weighted by them."""

import math

import torch
from torch import Tensor, nn

MAX_LOG_ODDS = 12.0


class WeightedLogistic(nn.Module):
    """One output whose exponential is the expected time (Covington et al., RecSys 2016).

    Every impression is a positive of weight `seconds` and a negative of weight 1: the odds then
    are the mean time. Times are counted in units of the training split's mean.

    Args:
        base: mean log1p of the training split's seconds.
    """

    num_outputs = 1
    unit: Tensor

    def __init__(self, base: float) -> None:
        super().__init__()
        self.register_buffer("unit", torch.tensor(max(math.expm1(base), 1.0)))

    def fit(self, seconds: Tensor, lengths: Tensor) -> None:
        """Take the mean."""
        if len(seconds):
            self.unit.fill_(seconds.clamp(min=0).mean().clamp(min=1e-3))

    def initial(self) -> Tensor:
        """Return the logarithm of one unit."""
        return torch.zeros(1)

    def errors(self, outputs: Tensor, seconds: Tensor, lengths: Tensor) -> Tensor:
        """Return the weighted cross-entropies."""
        logits, weights = outputs.squeeze(-1), seconds.clamp(min=0) / self.unit
        softplus = nn.functional.softplus
        return weights * softplus(-logits) + softplus(logits)

    def seconds(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the odds, in seconds."""
        return self.unit * torch.exp(outputs.squeeze(-1).clamp(max=MAX_LOG_ODDS))
