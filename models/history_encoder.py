"""The encoder of a history: one pass over a timeline gives the state after every event."""

import torch
from torch import Tensor, nn

from models.config import EncoderName
from models.dropout import Dropout
from models.hstu import HstuBlock
from models.transformer import TransformerBlock

INITIAL_STD = 0.02

BLOCKS: dict[EncoderName, type[TransformerBlock] | type[HstuBlock]] = {
    "transformer": TransformerBlock,
    "hstu": HstuBlock,
}


class HistoryEncoder(nn.Module):
    """A learned start token, then the events, through causal blocks.

    The start token gives an empty history a state too. Where an event stands is told by relative
    positions alone (in the blocks), so that a state means the same wherever a window begins.

    Args:
        name: the kind of block; "mean" has none and gives the running mean of the tokens.
        dim: width of tokens and states.
        layers: number of blocks.
        heads: attention heads; must divide `dim`.
        dropout: on embeddings and on the output of each half of a block.
        length: events of the longest history.
    """

    def __init__(
        self,
        name: EncoderName,
        dim: int,
        *,
        layers: int,
        heads: int,
        dropout: float,
        length: int,
    ) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(dim) * INITIAL_STD)
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(
            BLOCKS[name](dim, heads=heads, dropout=dropout, length=length + 1)
            for _ in range(0 if name == "mean" else layers)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Turn tokens (batch, events, dim) into states (batch, events + 1, dim).

        State k has seen the first k events; padding at the end disturbs no earlier state.
        """
        x = torch.cat([self.start.expand(tokens.shape[0], 1, -1), tokens], dim=1)
        states: Tensor = self.norm(self._mixed(x) if self.blocks else _running_mean(x))
        return states

    def _mixed(self, x: Tensor) -> Tensor:
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return x


def _running_mean(x: Tensor) -> Tensor:
    counts = torch.arange(1, x.shape[1] + 1, device=x.device, dtype=x.dtype)
    return x.cumsum(1) / counts[:, None]
