"""The board: where a worker, on whichever node, pins what the command then shows."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray

from train.progress import Listener, Progress

POLL_S = 0.5


class Board:
    """An actor that holds what was pinned until it is taken."""

    def __init__(self) -> None:
        self.pinned: list[Progress] = []

    def pin(self, progress: Progress) -> None:
        """Add to the board."""
        self.pinned.append(progress)

    def take(self) -> list[Progress]:
        """Return what was pinned since the last time."""
        taken, self.pinned = self.pinned, []
        return taken


class BoardListener:
    """Pins what it hears on the board, without waiting.

    Args:
        board: handle of a `Board` actor.
    """

    def __init__(self, board: Any) -> None:
        self.board = board

    def tell(self, progress: Progress) -> None:
        """Pin it."""
        self.board.pin.remote(progress)


@contextmanager
def relayed(listener: Listener) -> Iterator[Listener]:
    """Yield a listener for workers; what it hears reaches `listener` in this process."""
    board = ray.remote(Board).options(num_cpus=0).remote()
    is_over = threading.Event()
    relay = threading.Thread(target=_relay, args=(board, listener, is_over), daemon=True)
    relay.start()
    try:
        yield BoardListener(board)
    finally:
        is_over.set()
        relay.join()
        ray.kill(board)


def _relay(board: Any, listener: Listener, is_over: threading.Event) -> None:
    is_last = False
    while not is_last:
        is_last = is_over.wait(POLL_S)
        for progress in ray.get(board.take.remote()):
            listener.tell(progress)
