"""The batch size that follows from the training split."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from features.examples import Examples
from train.batch_size import EPOCH_STEPS, IMPRESSIONS, WINDOWS, sized
from train.config import RankingTraining, RetrievalTraining, TrainConfig, TrainSettings

SMALLEST, LARGEST = IMPRESSIONS

VALUES: dict[str, Any] = {
    "recommender": "toy",
    "dataset": {"format": "synthetic"},
    "tasks": [{"name": "click", "column": "click"}],
}


HISTORY = 50


def trainings_for(rows: int, users: int, positives: int, **train: Any) -> TrainConfig:
    settings = TrainSettings.model_validate({**VALUES, "train": train})
    timelines = SimpleNamespace(
        split=np.zeros(users * positives, np.uint8), offsets=np.arange(users + 1) * positives
    )
    examples = SimpleNamespace(
        manifest={"dataset": {"split": {"train": rows}}},
        schema=SimpleNamespace(history_length=HISTORY),
        num_partitions=1,
        timelines=lambda partition: timelines,
    )
    return sized(settings, cast(Examples, examples)).train


def sized_for(rows: int, **train: Any) -> RankingTraining:
    return trainings_for(rows, 1, 1, **train).ranking


def retrieval_for(users: int, positives: int = HISTORY, **train: Any) -> RetrievalTraining:
    return trainings_for(1, users, positives, **train).retrieval


@pytest.mark.parametrize(
    ("rows", "size"),
    [
        (100_000_000, LARGEST),
        (EPOCH_STEPS * LARGEST, LARGEST),
        (EPOCH_STEPS * LARGEST - 1, LARGEST // 2),
        (26_000, 256),
        (EPOCH_STEPS * SMALLEST, SMALLEST),
        (5, SMALLEST),
        (0, SMALLEST),
    ],
)
def test_an_epoch_has_its_steps_where_the_rows_allow(rows: int, size: int) -> None:
    assert IMPRESSIONS.fitting(rows, 1) == size


def test_several_workers_share_the_steps_of_an_epoch() -> None:
    assert IMPRESSIONS.fitting(EPOCH_STEPS * LARGEST, 2) == LARGEST // 2
    assert IMPRESSIONS.fitting(EPOCH_STEPS * LARGEST * 3, 3) == LARGEST


def test_the_size_of_a_worker_s_batch_is_filled_in() -> None:
    assert sized_for(26_000).batch_size == 256
    assert sized_for(26_000, num_workers=0).batch_size == 256
    assert sized_for(26_000, num_workers=2).batch_size == 128


def test_what_was_set_stays() -> None:
    training = sized_for(26_000, ranking={"batch_size": 4096})
    assert training == RankingTraining(batch_size=4096)
    training = sized_for(26_000, ranking={"embedding_learning_rate": 0.3})
    assert (training.batch_size, training.embedding_learning_rate) == (256, 0.3)


def test_tables_learn_faster_in_the_smaller_batches_of_all_workers() -> None:
    for num_workers in (1, 2, 4):
        training = sized_for(26_000, num_workers=num_workers, ranking={"learning_rate": 0.002})
        assert training.embeddings.learning_rate == pytest.approx(0.002 * 4)


def test_a_large_log_is_learned_as_the_config_says() -> None:
    assert sized_for(150_000) == RankingTraining(batch_size=LARGEST)
    assert sized_for(150_000, num_workers=2) == RankingTraining(batch_size=LARGEST // 2)


def test_the_two_tower_s_size_goes_by_the_windows_of_the_timelines() -> None:
    assert retrieval_for(12_800) == RetrievalTraining(batch_size=128)
    assert retrieval_for(12_799) == RetrievalTraining(batch_size=64)
    assert retrieval_for(12_800, num_workers=2) == RetrievalTraining(batch_size=64)
    assert retrieval_for(3) == RetrievalTraining(batch_size=WINDOWS.smallest)
    assert retrieval_for(3, retrieval={"batch_size": 500}) == RetrievalTraining(batch_size=500)
    assert retrieval_for(100, positives=10_000) == RetrievalTraining(batch_size=128)
    assert retrieval_for(12_800, positives=0) == RetrievalTraining(batch_size=WINDOWS.smallest)
