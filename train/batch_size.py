"""The batch sizes, as the size of the log has them, and the rate of the ranker's tables."""

from typing import NamedTuple, TypeVar

from features.examples import Examples
from train.config import RankingTraining, RetrievalTraining, TrainSettings

EPOCH_STEPS = 100
"""Steps that an epoch should have; a log too small for them is learned in smaller ones."""

AnySettings = TypeVar("AnySettings", bound=TrainSettings)


class Bounds(NamedTuple):
    """Of one worker's batch, powers of two."""

    smallest: int
    largest: int

    def fitting(self, count: int, num_workers: int) -> int:
        """Return one worker's part, the largest power of two that leaves an epoch its steps."""
        size = self.largest
        while size > self.smallest and count // (size * num_workers) < EPOCH_STEPS:
            size //= 2
        return size


IMPRESSIONS = Bounds(smallest=64, largest=1024)
WINDOWS = Bounds(smallest=16, largest=128)


def sized(settings: AnySettings, examples: Examples) -> AnySettings:
    """Fill in the batch sizes that were left open, and the rate of the ranker's tables."""
    train, dataset = settings.train, examples.manifest["dataset"]
    num_workers = max(train.num_workers, 1)
    return settings.model_copy(
        update={
            "train": train.model_copy(
                update={
                    "retrieval": _retrieval(train.retrieval, dataset["users"], num_workers),
                    "ranking": _ranking(train.ranking, dataset["split"]["train"], num_workers),
                }
            )
        }
    )


def _retrieval(training: RetrievalTraining, num_users: int, num_workers: int) -> RetrievalTraining:
    """Fill in the size; most users' timelines are one window."""
    if training.batch_size is not None:
        return training
    return training.model_copy(update={"batch_size": WINDOWS.fitting(num_users, num_workers)})


def _ranking(training: RankingTraining, num_rows: int, num_workers: int) -> RankingTraining:
    """Fill in the size, and the tables' rate: a small log has few steps to place their rows in."""
    if training.batch_size is not None:
        return training
    size = IMPRESSIONS.fitting(num_rows, num_workers)
    rate = training.embedding_learning_rate
    if rate is None and size * num_workers < IMPRESSIONS.largest:
        rate = training.learning_rate * IMPRESSIONS.largest / (size * num_workers)
    return training.model_copy(update={"batch_size": size, "embedding_learning_rate": rate})
