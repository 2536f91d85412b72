"""The running average of a model's weights: what is judged, kept and exported."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

WARM_UP = 10
"""The first steps' averages forget faster, so that the initial weights do not linger."""


class WeightAverage:
    """An exponential moving average over the steps (Polyak and Juditsky, 1992).

    A step's weights follow the last batches; their average is nearer to where training has gone.
    Only what an optimizer moves is averaged. Placed embedding tables are not: their steps cost
    what they touch, an average would cost every row.

    Args:
        model: on its device, with its tables placed.
        decay: share of the average that a step keeps; 0 takes the weights as they are.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._weights = (
            {name: p for name, p in model.named_parameters() if p.requires_grad} if decay else {}
        )
        self._averages = {name: p.detach().clone() for name, p in self._weights.items()}

    @torch.no_grad()
    def update(self, num_steps: int) -> None:
        """Take in the weights after step `num_steps`, counted from 1."""
        if self._weights:
            decay = min(self.decay, num_steps / (num_steps + WARM_UP))
            averages = list(self._averages.values())
            torch._foreach_lerp_(averages, list(self._weights.values()), 1.0 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average into the model for the block."""
        own = {name: p.detach().clone() for name, p in self._weights.items()}
        self._load(self._averages)
        try:
            yield
        finally:
            self._load(own)

    def keep(self) -> None:
        """Leave the average in the model."""
        self._load(self._averages)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by parameter name; they are the state, not a copy."""
        return self._averages

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what `state_dict` returned."""
        for name, average in self._averages.items():
            average.copy_(state[name])

    @torch.no_grad()
    def _load(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self._weights[name].copy_(value)
