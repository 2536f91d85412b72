"""Watch times from the chances that they pass a row of thresholds."""

import math

import torch
from torch import Tensor, nn

NUM_THRESHOLDS = 24
TAIL = 2.0
TYPICAL_STD = 1.2
ORDER_WEIGHT = 0.1


class Thresholds(nn.Module):
    """One classifier per threshold, "watched longer than" (Sun et al., CREAD, AAAI 2024).

    The thresholds are quantiles of the training split's times, denser towards its tail: where
    times are rare equal shares would make bins too wide, where they are frequent equal widths
    would leave too little to learn from. A time is restored from the chances as the sum of the
    bins' widths weighted by them, on the scale of log1p: the typical time, as by log regression.

    Args:
        base: mean log1p of the training split's seconds, for use before `fit`.
    """

    num_outputs = NUM_THRESHOLDS
    edges: Tensor
    chances: Tensor

    def __init__(self, base: float) -> None:
        super().__init__()
        levels = _levels()
        typical = base + TYPICAL_STD * math.sqrt(2) * torch.erfinv(2 * levels - 1)
        self.register_buffer("edges", typical.clamp(min=0).float())
        self.register_buffer("chances", (1 - levels).float(), persistent=False)

    def fit(self, seconds: Tensor, lengths: Tensor) -> None:
        """Take the thresholds and how often they are passed."""
        if not len(seconds):
            return
        times = torch.log1p(seconds.clamp(min=0)).double()
        self.edges.copy_(torch.quantile(times, _levels()))
        self.chances.copy_((times.unsqueeze(-1) > self.edges).double().mean(0))

    def initial(self) -> Tensor:
        """Return the logits of how often the thresholds are passed."""
        return torch.logit(self.chances.clamp(0.01, 0.99))

    def errors(self, outputs: Tensor, seconds: Tensor, lengths: Tensor) -> Tensor:
        """Return the mean cross-entropies, what the chances rise where they should fall added."""
        times = torch.log1p(seconds.clamp(min=0))
        is_passed = (times.unsqueeze(-1) > self.edges).to(outputs.dtype)
        cross_entropy = nn.functional.binary_cross_entropy_with_logits(
            outputs, is_passed, reduction="none"
        )
        rises = torch.relu(torch.sigmoid(outputs).diff(dim=-1))
        return cross_entropy.mean(-1) + ORDER_WEIGHT * rises.sum(-1)

    def seconds(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Restore the times from the chances; a bin's time lies at its lower edge."""
        widths = torch.diff(self.edges, prepend=self.edges.new_zeros(1))
        # The chance to pass the middle of a bin: between those of its two edges.
        chances = torch.sigmoid(outputs)
        before = torch.cat([torch.ones_like(chances[..., :1]), chances[..., :-1]], dim=-1)
        return torch.expm1(((before + chances) / 2 * widths).sum(-1))


def _levels() -> Tensor:
    """Return the thresholds' quantiles, denser towards 1."""
    places = torch.arange(1, NUM_THRESHOLDS + 1, dtype=torch.float64) / (NUM_THRESHOLDS + 1)
    return (1 - torch.exp(-TAIL * places)) / (1 - math.exp(-TAIL))
