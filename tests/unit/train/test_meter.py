"""Means of an epoch's steps."""

import math

import pytest
import torch

from train.meter import Meter


def test_means_are_per_step_and_samples_are_a_rate() -> None:
    meter = Meter()
    for loss in (1.0, 3.0):
        meter.add({"loss": torch.tensor(loss), "samples": torch.tensor(10.0)})
    assert meter.means() == {}
    meter.settle()
    assert meter.means() == {"loss": 2.0}
    meter.seconds = 4.0
    assert meter.rate == 5.0


def test_a_restored_meter_goes_on() -> None:
    meter, other = Meter(), Meter()
    meter.add({"loss": torch.tensor(1.0)})
    meter.settle()
    other.load_state_dict(meter.state_dict())
    other.add({"loss": torch.tensor(2.0)})
    other.settle()
    assert other.means() == {"loss": 1.5}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_a_number_is_noticed(value: float) -> None:
    meter = Meter()
    meter.add({"loss": torch.tensor(value)})
    assert meter.is_finite
    meter.settle()
    assert not meter.is_finite
