"""What a training needs of the place it runs in: a plain process or one worker of many."""

from typing import Protocol

import torch

from train.progress import Listener
from train.state import State


class Runtime(Protocol):
    """One worker's view of a data-parallel training.

    All workers call each method at the same point. A DTensor in a state is a shard; every other
    tensor is the same on all workers.
    """

    rank: int
    num_workers: int
    device: torch.device
    listener: Listener
    """Hears of the progress that rank 0 tells."""

    def restore(self, state: State) -> State | None:
        """Return the newest intact checkpoint of this training; None at its beginning.

        Args:
            state: a part of it, whose tensors are read in place; the rest is made.
        """
        ...

    def report(self, figures: dict[str, float], state: State) -> None:
        """Keep a checkpoint; on return the state may change while it is still being written."""
        ...

    def settle(self) -> None:
        """Wait until the last checkpoint is written."""
        ...

    def recall(self, epoch: int, state: State) -> None:
        """Read a part of the state at the end of the best epoch in place."""
        ...

    def agree(self, value: float) -> float:
        """Return rank 0's value to every worker."""
        ...

    def mean(self, value: float) -> float:
        """Return the mean of the workers' values to every worker."""
        ...
