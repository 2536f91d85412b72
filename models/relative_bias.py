"""A learned bias of attention by how many events lie between two."""

import torch
from torch import Tensor, nn


class RelativeBias(nn.Module):
    """Per head, one number per distance.

    Args:
        heads: attention heads.
        length: positions of the longest sequence.
    """

    def __init__(self, heads: int, length: int) -> None:
        super().__init__()
        self.by_distance = nn.Parameter(torch.zeros(heads, length))

    def forward(self, length: int) -> tuple[Tensor, Tensor]:
        """Return the biases (heads, length, length) and where a key is not later (length, length).

        Rows are queries; the biases of later keys mean nothing.
        """
        positions = torch.arange(length, device=self.by_distance.device)
        distance = positions[:, None] - positions
        return self.by_distance[:, distance.clamp(min=0)], distance >= 0
