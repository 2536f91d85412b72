"""The batch sizes, as the size of the log has them, and the rate of the ranker's tables."""

from typing import NamedTuple, TypeVar

from features.examples import Examples
from train.config import RankingTraining, RetrievalTraining, TrainSettings
from train.windows import count

EPOCH_STEPS = 100
"""Steps that an epoch should have; a log too small for them is learned in smaller ones."""

AnySettings = TypeVar("AnySettings", bound=TrainSettings)


class Bounds(NamedTuple):
    """Of one worker's batch, powers of two."""

    smallest: int
    largest: int

    def fitting(self, examples: int, num_workers: int) -> int:
        """Return the largest power of two that leaves an epoch of all workers its steps."""
        size = self.largest
        while size > self.smallest and examples // (size * num_workers) < EPOCH_STEPS:
            size //= 2
        return size


IMPRESSIONS = Bounds(smallest=64, largest=1024)
WINDOWS = Bounds(smallest=16, largest=128)


def sized(settings: AnySettings, examples: Examples) -> AnySettings:
    """Fill in the batch sizes that were left open, and the rate of the ranker's tables."""
    train = settings.train
    num_workers = max(train.num_workers, 1)
    trainings = {
        "retrieval": _retrieval(train.retrieval, examples, num_workers),
        "ranking": _ranking(train.ranking, examples, num_workers),
    }
    return settings.model_copy(update={"train": train.model_copy(update=trainings)})


def _retrieval(
    training: RetrievalTraining, examples: Examples, num_workers: int
) -> RetrievalTraining:
    """Fill in the size."""
    if training.batch_size is not None:
        return training
    timelines = (examples.timelines(p) for p in range(examples.num_partitions))
    num_windows = count(timelines, examples.schema.history_length)
    return training.model_copy(update={"batch_size": WINDOWS.fitting(num_windows, num_workers)})


def _ranking(training: RankingTraining, examples: Examples, num_workers: int) -> RankingTraining:
    """Fill in the size, and the tables' rate: a small log has few steps to place their rows in."""
    if training.batch_size is not None:
        return training
    num_rows = examples.manifest["dataset"]["split"]["train"]
    size = IMPRESSIONS.fitting(num_rows, num_workers)
    rate = training.embedding_learning_rate
    if rate is None and size * num_workers < IMPRESSIONS.largest:
        rate = training.learning_rate * IMPRESSIONS.largest / (size * num_workers)
    return training.model_copy(update={"batch_size": size, "embedding_learning_rate": rate})
