"""Dropout that draws one random byte per value."""

import torch
from torch import Tensor, nn

DRAWS = 256


class Dropout(nn.Module):
    """Zeros a share of the values in training and scales up the others.

    On a CPU torch's own draws one number of 64 bits per value, a tenth of a training step; this
    one draws a byte, so the share is rounded to a 256th.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.num_dropped = round(share * DRAWS)

    def forward(self, x: Tensor) -> Tensor:
        """Map a tensor of any shape to the same shape."""
        if not self.training or not self.num_dropped:
            return x
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        drawn = words.random_(-(2**63), None).view(torch.uint8)[: x.numel()].view(x.shape)
        return x * (drawn >= self.num_dropped) * (DRAWS / (DRAWS - self.num_dropped))
