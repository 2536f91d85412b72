"""What training needs to know of a model: batches, a loss, figures, exported programs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

Batch = dict[str, torch.Tensor]


class Objective(Protocol):
    """One model's training, without a word about workers, devices or checkpoints.

    The loop moves the model and the batches to the device, seeds torch's generator anew before
    every step, and puts the model into training or evaluation mode.
    """

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
        """Yield one worker's batches, a function of (seed, epoch, rank, num_workers) alone.

        Randomness comes from a generator of its own, never from torch's global one.
        """
        ...

    def validate(self) -> dict[str, float]:
        """Compute figures on the validation split; called between epochs.

        On rank 0 alone, or on all workers in step where their tables are sharded: then what it
        looks up must not depend on the rank.
        """
        ...


class Trainee(Objective, Protocol):
    """An objective whose model is then finished, judged on the test split and exported for serving.

    Built as `Class(settings: TrainSettings, examples: Examples)`; train/trainees.py lists them.
    """

    def finish(self) -> None:
        """Set what the validation split decides about the trained model, such as calibration.

        Called once the weights are final; what is judged and exported is the finished model.
        """
        ...

    def evaluate(self, predictions_path: Path) -> dict[str, Any]:
        """Compute the test figures and write the predictions that they were computed from.

        Returns:
            This model's parts of the report: "retrieval", or "ranking" and "ranking_floor"; and
            "slices" as {"new_users": {"retrieval" | "ranking": {...}}, "new_items": {...}}.
        """
        ...

    def export(self, folder: Path) -> None:
        """Write the exported programs `<name>.pt2` that serving loads."""
        ...
