"""The runtime of a training in one plain process, without Ray."""

from concurrent.futures import Future, ThreadPoolExecutor

import torch

from cluster.memory import Memory
from train.checkpoints import Checkpoints, checkpoint_name
from train.peers import Peers
from train.progress import Listener
from train.snapshot import ROOM_SHARE, Snapshot
from train.state import State


class PlainRuntime:
    """A single worker that writes its checkpoints itself, one at a time, in a thread.

    Args:
        checkpoints: the run's checkpoints.
        listener: hears of the progress.
        use_gpu: whether to train on the first GPU.
    """

    rank: int = 0
    num_workers: int = 1

    def __init__(
        self, checkpoints: Checkpoints, listener: Listener, *, use_gpu: bool = False
    ) -> None:
        self.checkpoints = checkpoints
        self.listener = listener
        self.device = torch.device("cuda" if use_gpu else "cpu")
        self.peers = Peers()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._written: Future[None] | None = None

    def restore(self, state: State) -> State | None:
        """Return the newest intact checkpoint."""
        return self.checkpoints.latest(state, self.peers)

    def report(self, figures: dict[str, float], state: State) -> None:
        """Write a checkpoint; the figures are in its state already."""
        self.settle()
        room_bytes = Memory().available_bytes() * ROOM_SHARE
        snapshot = Snapshot(state, self.rank, self.num_workers, room_bytes=room_bytes)
        name = self.peers.first(checkpoint_name(state))
        self._written = self._thread.submit(self.checkpoints.write, name, snapshot, self.peers)
        if not snapshot.is_copy:
            self.settle()

    def settle(self) -> None:
        """Wait for the thread."""
        if self._written is not None:
            self._written.result()

    def recall(self, epoch: int, state: State) -> None:
        """Read a part of the state at the end of an epoch."""
        self.checkpoints.recall(epoch, state, self.peers)

    def agree(self, value: float) -> float:
        """Return the value."""
        return value

    def mean(self, value: float) -> float:
        """Return the value."""
        return value
