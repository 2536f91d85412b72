"""Where a table's rows are during training: the interface, and its names."""

from typing import Literal, Protocol

from torch import Tensor

from models.tables.asked import Asked

PlacementName = Literal["local", "replicated", "row_sharded"]
DEFAULT = "default"
"""The key of the tables that no other key names."""


class Placement(Protocol):
    """Looks rows up where they are, and takes their gradients back."""

    def ask_rows(self, ids: Tensor) -> Asked:
        """Ask for the vectors of ids (...): (..., dim)."""
        ...

    def ask_pooled(self, ids: Tensor, mask: Tensor) -> Asked:
        """Ask for the mean over the last axis of ids (..., n) where mask: (..., dim), 0 of none."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return the optimizer's state; rows that are sharded as DTensor, like the weight."""
        ...

    def collect(self) -> None:
        """Sum what the lookups of a step sent back, over all workers, and let the rows learn."""
        ...
