"""Explicit feature crosses of bounded degree: the low-rank DCN-V2 network."""

import torch
from torch import Tensor, nn


class CrossNetwork(nn.Module):
    """Computes `x_{l+1} = x_0 * (U_l V_l x_l + b_l) + x_l` (Wang et al., DCN-V2, 2021).

    The input is a user part and an item part. `V_0` acts on each alone, so that the user's
    half of the first layer is computed once per request.

    Args:
        user_width: of the user part.
        item_width: of the item part.
        layers: crosses; the degree of the polynomial is one more.
        rank: of each layer's matrix.
    """

    def __init__(self, user_width: int, item_width: int, *, layers: int, rank: int) -> None:
        super().__init__()
        self.user_width = user_width
        self.width = user_width + item_width
        self.down = nn.ModuleList(nn.Linear(self.width, rank, bias=False) for _ in range(layers))
        self.up = nn.ModuleList(nn.Linear(rank, self.width) for _ in range(layers))

    def user_side(self, user: Tensor) -> Tensor:
        """Return the user's half of the first layer (batch, rank), of users (batch, width)."""
        if not len(self.down):
            return user[..., :0]
        return nn.functional.linear(user, self._first_weight()[:, : self.user_width])

    def item_side(self, user: Tensor, first: Tensor, items: Tensor) -> Tensor:
        """Cross users (batch, user_width) with items (batch, n, item_width): (batch, n, width).

        `first` is what `user_side` returned.
        """
        user = user.unsqueeze(1).expand(-1, items.shape[1], -1)
        start = torch.cat([user, items], dim=-1)
        crossed = start
        for layer, (down, up) in enumerate(zip(self.down, self.up, strict=True)):
            if layer:
                low = down(crossed)
            else:
                half = nn.functional.linear(items, self._first_weight()[:, self.user_width :])
                low = first.unsqueeze(1) + half
            crossed = start * up(low) + crossed
        return crossed

    def _first_weight(self) -> Tensor:
        weight = self.down[0].weight
        assert isinstance(weight, Tensor)
        return weight
