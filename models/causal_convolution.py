"""A short causal convolution: each event sees the few before it, without attention."""

import torch
from torch import Tensor, nn


class CausalConvolution(nn.Module):
    """Adds a weighted sum of the last `taps` positions to each, per channel.

    What was just chosen says most about what follows; attention has to learn to find the last
    events, this starts with them at hand (Primer, So et al. 2021; the short convolutions of
    state-space models). The weights start at zero: at first it changes nothing.
    """

    def __init__(self, dim: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(taps, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, dim) to the same shape."""
        length = x.shape[1]
        mixed = x * (1.0 + self.weight[0])
        for tap in range(1, len(self.weight)):
            earlier = nn.functional.pad(x, (0, 0, tap, 0))[:, :length]
            mixed = mixed + earlier * self.weight[tap]
        return mixed
