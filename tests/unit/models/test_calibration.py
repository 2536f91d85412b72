"""Calibration: probabilities come to mean what they say, in the same order."""

import pytest
import torch

from models.calibration import Calibration


def test_too_sure_and_shifted_logits_are_undone() -> None:
    generator = torch.Generator().manual_seed(0)
    true = torch.randn(50_000, generator=generator)
    labels = (torch.rand(50_000, generator=generator) < torch.sigmoid(true)).float()
    calibration = Calibration(2)
    calibration.fit(2.0 * true - 1.0, labels, 1)
    assert float(calibration.scale[1]) == pytest.approx(0.5, abs=0.02)
    assert float(calibration.shift[1]) == pytest.approx(0.5, abs=0.03)
    assert (float(calibration.scale[0]), float(calibration.shift[0])) == (1.0, 0.0)
    predicted = calibration(2.0 * true - 1.0, 1)
    assert float(predicted.mean()) == pytest.approx(float(labels.mean()), abs=1e-3)


def test_a_handful_of_labels_changes_little() -> None:
    calibration = Calibration(1)
    calibration.fit(torch.tensor([0.5, -0.5]), torch.tensor([1.0, 1.0]), 0)
    assert float(calibration.scale[0]) == pytest.approx(1.0, abs=0.1)
    assert abs(float(calibration.shift[0])) < 0.3


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_labels_of_one_class_and_extreme_logits_stay_finite_and_in_order(label: float) -> None:
    calibration = Calibration(1)
    logits = torch.linspace(-30, 30, 101)
    calibration.fit(logits, torch.full((101,), label), 0)
    assert (calibration(logits, 0).diff() >= 0).all()
    assert float(calibration.scale[0]) > 0


def test_labels_that_contradict_the_logits_do_not_turn_the_order() -> None:
    calibration, logits = Calibration(1), torch.linspace(-3, 3, 1000)
    calibration.fit(logits, (logits < 0).float(), 0)
    assert float(calibration.scale[0]) > 0
