"""What the training loop needs to know of a model: batches, a loss, a validation figure."""

from collections.abc import Iterator
from typing import Protocol

import torch

Batch = dict[str, torch.Tensor]


class Objective(Protocol):
    """One model's training, without a word about workers, devices or checkpoints."""

    model: torch.nn.Module
    """`model(batch)` returns (loss, parts): a scalar and named detached scalars for the log.
    Everything trainable is used by `forward`, so that DDP can wrap it."""
    monitor: str
    """The validation figure that early stopping watches; higher is better."""

    def optimizer(self) -> torch.optim.Optimizer:
        """Build the optimizer over the model's parameters."""
        ...

    def num_steps(self, num_workers: int) -> int:
        """Return the steps of an epoch, the same for every worker."""
        ...

    def batches(self, epoch: int, rank: int, num_workers: int) -> Iterator[Batch]:
        """Yield one worker's batches, a function of (seed, epoch, rank, num_workers) alone."""
        ...

    def validate(self) -> dict[str, float]:
        """Compute figures on the validation split; called on rank 0 between epochs."""
        ...
