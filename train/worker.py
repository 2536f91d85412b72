"""The runtime of one of Ray Train's workers, and the function that it runs."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import ray.train
import ray.train.torch
import torch

from train.checkpoints import Checkpoints, State, checkpoint_name
from train.progress import Listener
from train.runtime import Runtime


class Work(TypedDict):
    """What a worker is handed."""

    train: Callable[[Runtime], None]
    checkpoints: Checkpoints
    listener: Listener
    threads: int


def work(work: Work) -> None:
    """Train as one of several workers."""
    torch.set_num_threads(work["threads"])
    work["train"](WorkerRuntime(work["checkpoints"], work["listener"]))


class WorkerRuntime:
    """One worker among those that torch.distributed connects.

    Args:
        checkpoints: of the run that Ray Train keeps under the same name.
        listener: hears of the progress.
    """

    def __init__(self, checkpoints: Checkpoints, listener: Listener) -> None:
        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.num_workers: int = context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()
        self.checkpoints = checkpoints
        self.listener = listener

    def restore(self) -> State | None:
        """Return the newest intact checkpoint, even where Ray was killed before it took note."""
        return self.checkpoints.latest()

    def report(self, figures: dict[str, float], state: State) -> None:
        """Hand rank 0's checkpoint to Ray Train, which keeps the last two."""
        name = checkpoint_name(state)
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = None
            if self.rank == 0:
                self.checkpoints.write(state, Path(folder))
                checkpoint = ray.train.Checkpoint.from_directory(folder)
            ray.train.report(figures, checkpoint=checkpoint, checkpoint_dir_name=name)

    def agree(self, value: float) -> float:
        """Return rank 0's value."""
        return self._exchanged(value, is_mean=False)

    def mean(self, value: float) -> float:
        """Return the workers' mean."""
        return self._exchanged(value, is_mean=True)

    def _exchanged(self, value: float, *, is_mean: bool) -> float:
        if self.num_workers == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        if is_mean:
            torch.distributed.all_reduce(tensor)
            return float(tensor) / self.num_workers
        torch.distributed.broadcast(tensor, src=0)
        return float(tensor)
