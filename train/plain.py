"""The runtime of a training in one plain process, without Ray."""

import torch

from train.checkpoints import Checkpoints, State
from train.progress import Listener


class PlainRuntime:
    """A single worker that writes its checkpoints itself.

    Args:
        checkpoints: the run's checkpoints.
        listener: hears of the progress.
        use_gpu: whether to train on the first GPU.
    """

    rank = 0
    num_workers = 1

    def __init__(
        self, checkpoints: Checkpoints, listener: Listener, *, use_gpu: bool = False
    ) -> None:
        self.checkpoints = checkpoints
        self.listener = listener
        self.device = torch.device("cuda" if use_gpu else "cpu")

    def restore(self) -> State | None:
        """Return the newest intact checkpoint."""
        return self.checkpoints.latest()

    def report(self, figures: dict[str, float], state: State) -> None:
        """Write a checkpoint; the figures are in its state already."""
        self.checkpoints.save(state)

    def agree(self, value: float) -> float:
        """Return the value."""
        return value

    def mean(self, value: float) -> float:
        """Return the value."""
        return value
