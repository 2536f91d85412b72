"""How far a training is, and who wants to know."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """One moment of a training.

    Attributes:
        epoch: number of the epoch, from 1.
        step: steps done in the epoch.
        num_steps: steps of an epoch.
        total_steps: steps done in the training.
        figures: `loss`, `samples/s` and the loss's parts; at the end of an epoch the epoch's means
            and the validation figures.
        is_epoch: whether the epoch is over.
        is_best: whether its validation figure is the best yet.
    """

    epoch: int
    step: int
    num_steps: int
    total_steps: int
    figures: dict[str, float] = field(default_factory=dict)
    is_epoch: bool = False
    is_best: bool = False


class Listener(Protocol):
    """Somebody who is told of a training's progress."""

    def tell(self, progress: Progress) -> None:
        """Hear of it; cheap, for it is called between two steps."""
        ...


class Listeners:
    """Passes what it hears on to several listeners."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.listeners = tuple(listeners)

    def tell(self, progress: Progress) -> None:
        """Pass it on."""
        for listener in self.listeners:
            listener.tell(progress)
