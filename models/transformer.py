"""The causal transformer over a history: one pass gives the state after every event."""

import torch
from torch import Tensor, nn

INITIAL_STD = 0.02
EXPANSION = 4


class CausalTransformer(nn.Module):
    """Pre-norm blocks with sigmoid-gated residuals (LiGR, Borisyuk et al. 2024).

    A learned start token stands before the events, so that an empty history has a state too.

    Args:
        dim: width of tokens and states.
        layers: blocks; 0 gives the running mean of the tokens instead.
        heads: attention heads; must divide `dim`.
        dropout: on embeddings and on the output of each half of a block.
        length: events of the longest history.
    """

    def __init__(self, dim: int, *, layers: int, heads: int, dropout: float, length: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(dim) * INITIAL_STD)
        self.blocks = nn.ModuleList(Block(dim, heads, dropout) for _ in range(layers))
        if layers:
            self.positions = nn.Parameter(torch.randn(length + 1, dim) * INITIAL_STD)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn tokens (batch, events, dim) into states (batch, events + 1, dim).

        State k has seen the first k events; padding at the end disturbs no earlier state.
        """
        start = self.start.expand(tokens.shape[0], 1, -1)
        x = torch.cat([start, tokens], dim=1)
        states: Tensor = self.norm(self._attended(x) if self.blocks else _running_mean(x))
        return states

    def _attended(self, x: Tensor) -> Tensor:
        x = self.dropout(x + self.positions[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        return x


class Block(nn.Module):
    """Causal self-attention, then a feed-forward layer; each gated by its own input."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(dim)
        self.attention_in = nn.Linear(dim, 4 * dim)
        self.attention_out = nn.Linear(dim, dim)
        self.feed_norm = nn.LayerNorm(dim)
        self.feed_in = nn.Linear(dim, (EXPANSION + 1) * dim)
        self.feed_out = nn.Linear(EXPANSION * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, length, dim) to the same shape."""
        dim = x.shape[-1]
        qkv, gate = self.attention_in(self.attention_norm(x)).split([3 * dim, dim], dim=-1)
        x = x + torch.sigmoid(gate) * self.dropout(self.attention_out(self._attend(qkv)))
        hidden, gate = self.feed_in(self.feed_norm(x)).split([EXPANSION * dim, dim], dim=-1)
        gated: Tensor = torch.sigmoid(gate) * self.dropout(self.feed_out(torch.relu(hidden)))
        return x + gated

    def _attend(self, qkv: Tensor) -> Tensor:
        batch, length, width = qkv.shape
        heads = qkv.view(batch, length, 3, self.heads, width // (3 * self.heads))
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = _causal_attention(q, k, v)
        return mixed.transpose(1, 2).reshape(batch, length, width // 3)


def _causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attend in float32 on the CPU, whose bfloat16 attention is several times slower."""
    if q.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        with torch.autocast("cpu", enabled=False):
            return _causal_attention(q.float(), k.float(), v.float())
    mixed: Tensor = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    return mixed


def _running_mean(x: Tensor) -> Tensor:
    counts = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
    return x.cumsum(1) / counts[:, None]
