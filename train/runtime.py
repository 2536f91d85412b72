"""What a training needs of the place it runs in: a plain process or one worker of many."""

from typing import Protocol

import torch

from train.checkpoints import State
from train.progress import Listener


class Runtime(Protocol):
    """One worker's view of a data-parallel training."""

    rank: int
    num_workers: int
    device: torch.device
    listener: Listener
    """Hears of the progress that rank 0 tells."""

    def restore(self) -> State | None:
        """Return the newest intact checkpoint of this training; None at its beginning."""
        ...

    def report(self, figures: dict[str, float], state: State) -> None:
        """Keep a checkpoint; called by every worker at the same point, rank 0's state counts."""
        ...

    def agree(self, value: float) -> float:
        """Return rank 0's value to every worker."""
        ...

    def mean(self, value: float) -> float:
        """Return the mean of the workers' values to every worker."""
        ...
