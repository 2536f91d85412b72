"""The runtime of one of Ray Train's workers, and the function that it runs."""

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypedDict

import ray.train
import ray.train.torch
import torch

from cluster.memory import Memory
from train.checkpoints import Checkpoints, checkpoint_name
from train.peers import Peers
from train.progress import Listener
from train.runtime import Runtime
from train.snapshot import ROOM_SHARE, Snapshot
from train.state import State


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
        self._num_neighbours: int = context.get_local_world_size()
        self.device: torch.device = ray.train.torch.get_device()
        self.checkpoints = checkpoints
        self.listener = listener
        self.peers = Peers.connected()
        self._written: Future[None] | None = None

    def restore(self, state: State) -> State | None:
        """Return the newest intact checkpoint, even where Ray was killed before it took note."""
        return self.checkpoints.latest(state, self.peers)

    def report(self, figures: dict[str, float], state: State) -> None:
        """Let Ray Train's upload thread write this worker's share, straight into the storage."""
        self.settle()
        name = self.peers.first(checkpoint_name(state))
        room_bytes = Memory().available_bytes() * ROOM_SHARE / self._num_neighbours
        snapshot = Snapshot(state, self.rank, self.num_workers, room_bytes=room_bytes)
        self._written = Future()
        ray.train.report(
            figures,
            checkpoint=ray.train.Checkpoint(
                f"{self.checkpoints.path}/{name}", self.checkpoints.filesystem
            ),
            checkpoint_dir_name=name,
            checkpoint_upload_mode=ray.train.CheckpointUploadMode.ASYNC,
            delete_local_checkpoint_after_upload=False,
            checkpoint_upload_fn=partial(self._write, snapshot, self._written),
        )
        if not snapshot.is_copy:
            self.settle()

    def settle(self) -> None:
        """Wait for the upload thread."""
        if self._written is not None:
            self._written.result()

    def recall(self, epoch: int, state: State) -> None:
        """Read a part of the state at the end of an epoch."""
        self.checkpoints.recall(epoch, state, self.peers)

    def agree(self, value: float) -> float:
        """Return rank 0's value."""
        return self._exchanged(value, is_mean=False)

    def mean(self, value: float) -> float:
        """Return the workers' mean."""
        return self._exchanged(value, is_mean=True)

    def _write(
        self,
        snapshot: Snapshot,
        written: Future[None],
        checkpoint: ray.train.Checkpoint,
        name: str,
    ) -> ray.train.Checkpoint:
        try:
            self.checkpoints.write(name, snapshot, self.peers)
        except BaseException as error:
            written.set_exception(error)
            raise
        written.set_result(None)
        return checkpoint

    def _exchanged(self, value: float, *, is_mean: bool) -> float:
        if self.num_workers == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        if is_mean:
            torch.distributed.all_reduce(tensor)
            return float(tensor) / self.num_workers
        torch.distributed.broadcast(tensor, src=0)
        return float(tensor)
