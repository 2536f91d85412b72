"""Where a training stands: everything that resumes beside weights."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from train.config import ModelTraining


@dataclass
class Position:
    """Epochs and steps done, the best validation figure, and whether it is over."""

    epoch: int = 0
    """Epochs done."""
    step: int = 0
    """Steps done of the current epoch."""
    total_steps: int = 0
    seconds: float = 0.0
    best_value: float = -math.inf
    best_epoch: int = 0
    is_over: bool = False
    curves: list[dict[str, float]] = field(default_factory=list)
    """The figures of every epoch done, and the seconds of training until then."""

    def advance(self) -> None:
        """Count a step."""
        self.step += 1
        self.total_steps += 1

    def close_epoch(self, figures: dict[str, float], value: float, training: ModelTraining) -> bool:
        """Count an epoch with its validation figure; return whether it is the best yet."""
        self.epoch += 1
        self.step = 0
        self.curves.append({"epoch": self.epoch, "seconds": round(self.seconds, 3), **figures})
        is_best = value > self.best_value or self.best_epoch == 0
        if is_best:
            self.best_value, self.best_epoch = value, self.epoch
        is_stale = (
            self.total_steps >= training.min_steps
            and self.epoch - self.best_epoch >= training.patience
        )
        self.is_over = self.is_over or is_stale or self.epoch >= training.epochs
        return is_best

    def state_dict(self) -> dict[str, Any]:
        """Return every field."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> "Position":
        """Take over what `state_dict` returned."""
        return cls(**state)
