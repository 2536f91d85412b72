"""The dense halves of the two towers, the same in every variant."""

from torch import Tensor, nn

from benchmarks.throughput.world import Sizes

TEMPERATURE = 0.05


class Towers(nn.Module):
    """Two layers each: a user's vector and pooled history, and an item's vector, to unit vectors.

    Args:
        sizes: widths.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.user = _tower(2 * sizes.dim, sizes)
        self.item = _tower(sizes.dim, sizes)

    def users(self, embedded: Tensor) -> Tensor:
        """Map embedded users and histories (batch, 2 x dim) to unit vectors (batch, dim)."""
        return nn.functional.normalize(self.user(embedded).float(), dim=-1)

    def items(self, embedded: Tensor) -> Tensor:
        """Map embedded items (n, dim) to unit vectors (n, dim)."""
        return nn.functional.normalize(self.item(embedded).float(), dim=-1)


def _tower(width: int, sizes: Sizes) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, sizes.hidden), nn.ReLU(), nn.Linear(sizes.hidden, sizes.dim)
    )
