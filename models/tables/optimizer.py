"""How the rows of a table learn: the interface of the optimizers, and their settings."""

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from models.tables.gradients import RowGradients

OptimizerName = Literal["adamw", "rowwise_adagrad"]


@dataclass(frozen=True)
class Learning:
    """How a model's tables learn."""

    optimizer: OptimizerName = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0


class TableOptimizer(Protocol):
    """The optimizer of one table's rows that are in this process; it changes them in place."""

    learning_rate: float

    def update(self, gradients: RowGradients) -> None:
        """Make one step."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return the state by name: tensors with a row per row of the table, and scalars.

        What is written into the returned tensors is the new state.
        """
        ...
