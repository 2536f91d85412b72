"""How far a training is, and who wants to know."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

Phase = Literal["training", "evaluation", "export"]


@dataclass(frozen=True)
class Progress:
    """One moment of a training.

    Attributes:
        phase: what is being done; the rest is about `training`.
        epoch: number of the epoch, from 1.
        step: steps done in the epoch.
        num_steps: steps of an epoch.
        total_steps: steps done in the training.
        figures: `loss`, `samples/s` and the loss's parts; at the end of an epoch the epoch's means
            and the validation figures.
        monitor: name of the validation figure that counts.
        is_epoch: whether the epoch is over.
        is_best: whether its validation figure is the best yet.
    """

    phase: Phase = "training"
    epoch: int = 0
    step: int = 0
    num_steps: int = 0
    total_steps: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    monitor: str = ""
    is_epoch: bool = False
    is_best: bool = False


class Listener(Protocol):
    """Somebody who is told of a training's progress."""

    def tell(self, progress: Progress) -> None:
        """Hear of it; cheap, for it is called between two steps."""
        ...


class Listeners:
    """Passes on what it hears.

    Args:
        listeners: whom to.
    """

    def __init__(self, listeners: tuple[Listener, ...]) -> None:
        self.listeners = listeners

    def tell(self, progress: Progress) -> None:
        """Pass it on."""
        for listener in self.listeners:
            listener.tell(progress)
