"""Numbers as vectors, so that a layer can tell their ranges apart."""

import math

import torch
from torch import Tensor, nn

FREQUENCY_STD = 0.5
NUM_FREQUENCIES = 8


class NumberEmbedding(nn.Module):
    """Embeds each of some standardised numbers by waves (Gorishniy et al., PLR, NeurIPS 2022).

    A linear layer over a number can only rise or fall with it; a tree splits it anywhere. Waves of
    learned frequencies, a linear layer per number and a rectifier bring the network close.

    Args:
        count: of the numbers.
        dim: of each one's vector; 0 gives none.
    """

    def __init__(self, count: int, dim: int) -> None:
        super().__init__()
        self.width = count * dim
        """Size of all vectors together."""
        self.frequency = nn.Parameter(torch.randn(count, NUM_FREQUENCIES) * FREQUENCY_STD)
        bound = 1 / math.sqrt(2 * NUM_FREQUENCIES)
        weight = torch.empty(count, 2 * NUM_FREQUENCIES, dim).uniform_(-bound, bound)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(count, dim))

    def forward(self, numbers: Tensor) -> Tensor:
        """Embed numbers (..., count): (..., width)."""
        waves = 2 * math.pi * self.frequency * numbers.unsqueeze(-1)
        waves = torch.cat([waves.cos(), waves.sin()], dim=-1)  # (..., count, 2 * frequencies)
        vectors = torch.einsum("...nf,nfd->...nd", waves, self.weight) + self.bias
        return torch.relu(vectors).flatten(-2)
