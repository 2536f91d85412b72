"""The running average of weights: what it is, what it leaves alone, and that it comes back."""

from pathlib import Path

import pytest
import torch
from pyarrow import fs

from tests.linear import IDENTITY, LinearObjective, Silence
from train.average import WARM_UP, WeightAverage
from train.checkpoints import Checkpoints
from train.config import ModelTraining
from train.loop import fit
from train.plain import PlainRuntime

TRAINING = ModelTraining(
    epochs=4, batch_size=64, learning_rate=0.1, patience=4, averaging=0.9, seed=3
)


def moved(model: torch.nn.Linear, value: float) -> None:
    with torch.no_grad():
        model.weight.fill_(value)


def runtime_in(folder: Path) -> PlainRuntime:
    return PlainRuntime(Checkpoints(fs.LocalFileSystem(), str(folder), IDENTITY), Silence())


def test_the_average_follows_the_weights_and_warms_up() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    moved(model, 1.0)
    average = WeightAverage(model, 0.5)
    moved(model, 2.0)
    average.update(1)
    kept = 1 / (1 + WARM_UP)
    assert float(average.state_dict()["weight"]) == pytest.approx(kept + 2 * (1 - kept))
    moved(model, 0.0)
    average.update(1000)
    assert float(average.state_dict()["weight"]) == pytest.approx((2 - kept) / 2)


def test_the_weights_come_back_after_the_block() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, 0.9)
    before = model.weight.item()
    moved(model, 5.0)
    with average.applied():
        assert model.weight.item() == before
    assert model.weight.item() == 5.0
    average.keep()
    assert model.weight.item() == before


def test_without_averaging_the_weights_stay_as_they_are() -> None:
    model = torch.nn.Linear(1, 1)
    average = WeightAverage(model, 0.0)
    moved(model, 5.0)
    average.update(1)
    with average.applied():
        assert model.weight.item() == 5.0
    assert average.state_dict() == {}


def test_frozen_weights_are_not_averaged() -> None:
    model = torch.nn.Linear(1, 1)
    model.bias.requires_grad_(False)
    assert set(WeightAverage(model, 0.9).state_dict()) == {"weight"}


def test_the_averaged_weights_are_judged_and_kept(tmp_path: Path) -> None:
    objective = LinearObjective(TRAINING)
    judged: list[torch.Tensor] = []
    trained: list[torch.Tensor] = []
    weight = objective.model.get_parameter("layer.weight")

    def validate() -> dict[str, float]:
        judged.append(weight.clone())
        return {"fit": [0.0, 5.0, 4.0, 3.0][len(judged) - 1]}

    step = objective.optimizer()
    step.register_step_post_hook(lambda *_: trained.append(weight.detach().clone()))
    objective.optimizer = lambda: step  # type: ignore[method-assign]
    objective.validate = validate  # type: ignore[method-assign]
    fit(objective, TRAINING, runtime_in(tmp_path))
    expected = LinearObjective(TRAINING).model.get_parameter("layer.weight").detach()
    for count, weights in enumerate(trained[: 2 * objective.num_steps(1)], start=1):
        expected = expected.lerp(weights, 1 - min(0.9, count / (count + WARM_UP)))
    assert torch.allclose(judged[1], expected, atol=1e-6)
    assert torch.equal(weight, judged[1])
