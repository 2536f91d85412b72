"""The block of the gated causal transformer."""

import torch
from torch import Tensor, nn

from models.causal_convolution import CausalConvolution
from models.dropout import Dropout
from models.precision import own_precision
from models.relative_bias import RelativeBias

EXPANSION = 4
TAPS = 3


class TransformerBlock(nn.Module):
    """Causal self-attention, then a feed-forward layer; each gated by its own input.

    Pre-norm with sigmoid-gated residuals (LiGR, Borisyuk et al. 2024), a bias by relative position
    in the attention, and a short convolution before it.

    Args:
        dim: width.
        heads: attention heads; must divide `dim`.
        dropout: on the output of each half.
        length: positions of the longest sequence.
    """

    def __init__(self, dim: int, *, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.recent = CausalConvolution(dim, TAPS)
        self.attention_in = nn.Linear(dim, 4 * dim)
        self.bias = RelativeBias(heads, length)
        self.attention_out = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed_in = nn.Linear(dim, (EXPANSION + 1) * dim)
        self.feed_out = nn.Linear(EXPANSION * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, dim) to the same shape."""
        dim = x.shape[-1]
        normed = self.recent(self.attention_norm(x))
        qkv, gate = self.attention_in(normed).split([3 * dim, dim], dim=-1)
        x = x + torch.sigmoid(gate) * self.dropout(self.attention_out(self._attend(qkv)))
        hidden, gate = self.feed_in(self.feed_norm(x)).split([EXPANSION * dim, dim], dim=-1)
        gated: Tensor = torch.sigmoid(gate) * self.dropout(self.feed_out(torch.relu(hidden)))
        return x + gated

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, length, width = qkv.shape
        q, k, v = split_heads(qkv, self.heads).unbind(0)
        bias, is_past = self.bias(length)
        bias = bias.masked_fill(~is_past, -torch.inf).to(q.dtype)
        with own_precision(q.device):
            logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2) + bias
            mixed = torch.softmax(logits, dim=-1) @ v
        return mixed.transpose(1, 2).reshape(batch, length, width // 3)


def split_heads(projected: Tensor, heads: int) -> Tensor:
    """Turn queries, keys and values (batch, length, 3 x dim) into (3, batch, heads, length, -1)."""
    batch, length, width = projected.shape
    return projected.view(batch, length, 3, heads, width // (3 * heads)).permute(2, 0, 3, 1, 4)
