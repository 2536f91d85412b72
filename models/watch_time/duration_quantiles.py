"""Watch times as quantiles among items of about the same duration."""

import math

import torch
from torch import Tensor, nn

NUM_GROUPS = 20
NUM_QUANTILES = 101
MIN_GROUP = 200
UNIFORM_VARIANCE = 1 / 12
TYPICAL_STD = 1.2


class DurationQuantiles(nn.Module):
    """Regresses the quantile of a time within its duration group (Zhan et al., D2Q, KDD 2022).

    Long videos are watched longer whether they are liked or not. Quantiles within a group of like
    durations do not know of it; the group's own distribution turns them back into seconds.

    Args:
        base: mean log1p of the training split's seconds, for use before `fit`.
    """

    num_outputs = 1
    edges: Tensor
    quantiles: Tensor

    def __init__(self, base: float) -> None:
        super().__init__()
        levels = torch.linspace(0.005, 0.995, NUM_QUANTILES)
        typical = base + TYPICAL_STD * math.sqrt(2) * torch.erfinv(2 * levels - 1)
        times = torch.expm1(typical.clamp(min=0)).repeat(NUM_GROUPS, 1)
        self.register_buffer("edges", torch.full((NUM_GROUPS - 1,), math.inf))
        self.register_buffer("quantiles", times)

    def fit(self, seconds: Tensor, lengths: Tensor) -> None:
        """Cut the durations into groups of one size, and take each one's distribution."""
        if not len(seconds):
            return
        shares = torch.linspace(0, 1, NUM_GROUPS + 1, dtype=torch.float64)
        edges = torch.quantile(lengths.double(), shares[1:-1]).float()
        self.edges.copy_(edges)
        groups = self._groups(lengths)
        levels = torch.linspace(0, 1, NUM_QUANTILES, dtype=torch.float64)
        for group in range(NUM_GROUPS):
            chosen = seconds[groups == group]
            chosen = chosen if len(chosen) >= MIN_GROUP else seconds
            self.quantiles[group] = torch.quantile(chosen.clamp(min=0).double(), levels).float()

    def initial(self) -> Tensor:
        """Return the logit of the median."""
        return torch.zeros(1)

    def errors(self, outputs: Tensor, seconds: Tensor, lengths: Tensor) -> Tensor:
        """Return the squared errors of the quantiles, in units of their variance."""
        errors = torch.sigmoid(outputs.squeeze(-1)) - self.quantiles_of(seconds, lengths)
        return errors.square() / UNIFORM_VARIANCE

    def quantiles_of(self, seconds: Tensor, lengths: Tensor) -> Tensor:
        """Return where times stand among those of their groups, 0 to 1; ties in their middle."""
        times = self.quantiles[self._groups(lengths)]
        below = (times < seconds.unsqueeze(-1)).sum(-1) + (times <= seconds.unsqueeze(-1)).sum(-1)
        return below / (2 * NUM_QUANTILES)

    def seconds(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Look the quantiles up in the groups' distributions."""
        place = torch.sigmoid(outputs.squeeze(-1)) * (NUM_QUANTILES - 1)
        lower = place.floor().clamp(max=NUM_QUANTILES - 2)
        index = self._groups(lengths) * NUM_QUANTILES + lower.long()
        times = self.quantiles.flatten()
        return torch.lerp(times[index], times[index + 1], place - lower)

    def _groups(self, lengths: Tensor) -> Tensor:
        return (lengths.unsqueeze(-1) > self.edges).sum(-1)
