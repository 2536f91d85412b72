"""The block of HSTU: pointwise attention that gates what it collected."""

import torch
from torch import Tensor, nn

from models.causal_convolution import CausalConvolution
from models.dropout import Dropout
from models.precision import own_precision
from models.relative_bias import RelativeBias
from models.transformer import TAPS, split_heads

MEAN_EVENTS = 100.0
"""By which sums over the past are divided; the norm after them takes out what is left."""


class HstuBlock(nn.Module):
    """One layer in place of attention and feed-forward (HSTU, Zhai et al. 2024).

    Attention weights are a SiLU of the scores, not a softmax: how many events match says
    something too. There is no feed-forward part: the elementwise gate takes its place.

    Args:
        dim: width.
        heads: attention heads; must divide `dim`.
        dropout: on the gated output.
        length: positions of the longest sequence.
    """

    def __init__(self, dim: int, *, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim)
        self.recent = CausalConvolution(dim, TAPS)
        self.project_in = nn.Linear(dim, 4 * dim)
        self.bias = RelativeBias(heads, length)
        self.mixed_norm = nn.LayerNorm(dim)
        self.dropout = Dropout(dropout)
        self.project_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, dim) to the same shape."""
        dim = x.shape[-1]
        projected = nn.functional.silu(self.project_in(self.recent(self.norm(x))))
        qkv, gate = torch.split(projected, [3 * dim, dim], dim=-1)
        collected = self.mixed_norm(self._attend(qkv))
        out: Tensor = self.project_out(self.dropout(gate * collected))
        return x + out

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, length, width = qkv.shape
        q, k, v = split_heads(qkv, self.heads).unbind(0)
        bias, is_past = self.bias(length)
        with own_precision(q.device):
            scores = q @ k.transpose(-1, -2) + bias.to(q.dtype)
            mixed = (nn.functional.silu(scores) * (is_past / MEAN_EVENTS).to(q.dtype)) @ v
        joined: Tensor = mixed.transpose(1, 2).reshape(batch, length, width // 3)
        return joined
