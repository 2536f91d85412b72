"""How a trial stands after an epoch, told once the epoch's checkpoint is kept."""

import math
from dataclasses import dataclass

import torch

from cluster.errors import InputError
from train.position import Position
from train.progress import Listener, Progress
from train.runtime import Runtime
from train.state import State


@dataclass(frozen=True)
class Standing(Progress):
    """The news that a trial passes on.

    Attributes:
        curve: the monitored figure of every epoch done.
        best_epoch: whose weights the training keeps.
        is_over: whether the training has ended by itself.
    """

    curve: tuple[float, ...] = ()
    best_epoch: int = 0
    is_over: bool = False

    @property
    def figure(self) -> float:
        """The monitored figure of the weights that the training keeps."""
        return self.curve[self.best_epoch - 1]

    @classmethod
    def of(cls, position: Position, monitor: str) -> "Standing":
        """Take it from a training's position."""
        return cls(
            epoch=position.epoch,
            curve=tuple(figures.get(monitor, math.nan) for figures in position.curves),
            best_epoch=position.best_epoch,
            is_over=position.is_over,
        )


class StandingRuntime:
    """A runtime that tells the listener how the training stands after every epoch.

    A trial that is stopped, paused or copied at such a moment has a checkpoint of it.

    Args:
        runtime: that does the work.
        monitor: name of the validation figure.
    """

    def __init__(self, runtime: Runtime, monitor: str) -> None:
        self.runtime = runtime
        self.monitor = monitor
        self.rank: int = runtime.rank
        self.num_workers: int = runtime.num_workers
        self.device: torch.device = runtime.device
        self.listener: Listener = runtime.listener
        self.has_told = False

    def restore(self, state: State) -> State | None:
        """Return the newest intact checkpoint."""
        return self.runtime.restore(state)

    def report(self, figures: dict[str, float], state: State) -> None:
        """Keep the checkpoint, then tell if it ends an epoch."""
        self.runtime.report(figures, state)
        position = Position.from_state_dict(state["position"])
        if position.step == 0 and position.epoch:
            self.settle()
            self.tell(position)

    def settle(self) -> None:
        """Wait until the last checkpoint is written."""
        self.runtime.settle()

    def recall(self, epoch: int, state: State) -> None:
        """Read a part of the state at the end of the best epoch in place."""
        self.runtime.recall(epoch, state)

    def tell(self, position: Position) -> None:
        """Tell how the training stands.

        Raises:
            InputError: nothing can be judged by the figure.
        """
        self.has_told = True
        if self.rank == 0:
            standing = Standing.of(position, self.monitor)
            if math.isnan(standing.figure):
                raise InputError(f"tune.monitor: {self.monitor} is not a number")
            self.listener.tell(standing)

    def agree(self, value: float) -> float:
        """Return rank 0's value to every worker."""
        return self.runtime.agree(value)

    def mean(self, value: float) -> float:
        """Return the mean of the workers' values to every worker."""
        return self.runtime.mean(value)
