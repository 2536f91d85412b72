"""The runtime of a measured training: one of torch.distributed's workers, if any; keeps nothing."""

import torch
import torch.distributed as dist

from train.progress import Listener, Listeners
from train.state import State


class UnsavedRuntime:
    """This process as a worker that begins anew and writes no checkpoint, whoever started it."""

    def __init__(self) -> None:
        is_connected = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if is_connected else 0
        self.num_workers = dist.get_world_size() if is_connected else 1
        self.device = torch.device("cpu")
        self.listener: Listener = Listeners(())

    def restore(self, state: State) -> State | None:
        """Return None: every run begins anew."""
        return None

    def report(self, figures: dict[str, float], state: State) -> None:
        """Keep nothing."""

    def settle(self) -> None:
        """Wait for nothing."""

    def recall(self, epoch: int, state: State) -> None:
        """Leave the last weights as they are."""

    def agree(self, value: float) -> float:
        """Return rank 0's value to every worker."""
        tensor = torch.tensor(value, dtype=torch.float64)
        if self.num_workers > 1:
            dist.broadcast(tensor, src=0)
        return float(tensor)

    def mean(self, value: float) -> float:
        """Return the mean of the workers' values to every worker."""
        tensor = torch.tensor(value, dtype=torch.float64)
        if self.num_workers > 1:
            dist.all_reduce(tensor)
        return float(tensor) / self.num_workers
