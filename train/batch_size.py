"""The ranker's batch size, and its tables' rate with it, as the training split's size has them."""

from typing import TypeVar

from features.examples import Examples
from train.config import RankingTraining, TrainSettings

LARGEST, SMALLEST = 1024, 64
EPOCH_STEPS = 100
"""Steps that an epoch should have; a log too small for them is learned in smaller ones."""

AnySettings = TypeVar("AnySettings", bound=TrainSettings)


def sized(settings: AnySettings, examples: Examples) -> AnySettings:
    """Fill in the ranker's batch size where it was left open, and the tables' rate with it."""
    train = settings.train
    if train.ranking.batch_size is not None:
        return settings
    num_rows = examples.manifest["dataset"]["split"]["train"]
    ranking = _fitting(train.ranking, num_rows, max(train.num_workers, 1))
    return settings.model_copy(update={"train": train.model_copy(update={"ranking": ranking})})


def fitting_batch_size(num_rows: int, num_workers: int) -> int:
    """Return the largest power of two that leaves an epoch of all workers its steps.

    Never above `LARGEST`, which the largest logs have, nor below `SMALLEST`.
    """
    size = LARGEST
    while size > SMALLEST and num_rows // (size * num_workers) < EPOCH_STEPS:
        size //= 2
    return size


def _fitting(training: RankingTraining, num_rows: int, num_workers: int) -> RankingTraining:
    """Fill in the size, and the tables' rate: a small log has few steps to place their rows in."""
    size = fitting_batch_size(num_rows, num_workers)
    rate = training.embedding_learning_rate
    if rate is None and size * num_workers < LARGEST:
        rate = training.learning_rate * LARGEST / (size * num_workers)
    return training.model_copy(update={"batch_size": size, "embedding_learning_rate": rate})
