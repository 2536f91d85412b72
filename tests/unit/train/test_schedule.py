"""The learning rate rises over the warm-up and then stays or falls to nothing."""

import pytest

from train.config import ModelTraining
from train.schedule import learning_rate


def rates(training: ModelTraining, num_steps: int = 100) -> list[float]:
    return [learning_rate(training, step / num_steps) for step in range(num_steps)]


def test_without_a_schedule_the_rate_is_constant() -> None:
    assert set(rates(ModelTraining(learning_rate=0.5))) == {0.5}


def test_the_rate_rises_over_the_warm_up_and_stays() -> None:
    given = rates(ModelTraining(learning_rate=0.5, warm_up=0.2))
    assert given[:20] == sorted(given[:20])
    assert given[0] > 0
    assert set(given[20:]) == {0.5}


@pytest.mark.parametrize("warm_up", [0.0, 0.1])
def test_a_cosine_falls_from_the_peak_to_nothing(warm_up: float) -> None:
    training = ModelTraining(learning_rate=0.5, warm_up=warm_up, decay="cosine")
    given = rates(training)
    assert max(given) == pytest.approx(0.5)
    assert given[10:] == sorted(given[10:], reverse=True)
    assert learning_rate(training, 0.5 + warm_up / 2) == pytest.approx(0.25)
    assert learning_rate(training, 1.0) == pytest.approx(0.0)
    assert learning_rate(training, 1.5) == pytest.approx(0.0)
