"""Ways to predict watch times: each finds the time that its formula promises."""

import math

import pytest
import torch

from models.watch_time.choice import OBJECTIVES
from models.watch_time.duration_quantiles import DurationQuantiles
from models.watch_time.log_seconds import LogSeconds
from models.watch_time.thresholds import Thresholds
from models.watch_time.weighted_logistic import WeightedLogistic

BASE = 2.0


def log_normal(n: int = 4000, *, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.expm1((BASE + shift + torch.randn(n, generator=generator)).clamp(min=0))


def best_constant(objective: torch.nn.Module, seconds: torch.Tensor) -> torch.Tensor:
    """Minimise the loss over one output vector for all impressions; return its seconds."""
    lengths = torch.zeros(len(seconds))
    outputs = objective.initial().clone().requires_grad_()
    optimizer = torch.optim.LBFGS([outputs], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        errors = objective.errors(outputs.expand(len(seconds), -1), seconds, lengths).mean()
        errors.backward()
        return errors

    optimizer.step(loss)
    return objective.seconds(outputs.detach(), torch.zeros(()))


def test_log_regression_finds_the_geometric_mean() -> None:
    seconds = log_normal()
    expected = torch.expm1(torch.log1p(seconds).mean())
    torch.testing.assert_close(
        best_constant(LogSeconds(BASE), seconds), expected, rtol=1e-3, atol=0
    )


def test_weighted_logistic_regression_finds_the_mean() -> None:
    objective, seconds = WeightedLogistic(BASE), log_normal()
    objective.fit(seconds, torch.zeros(len(seconds)))
    torch.testing.assert_close(best_constant(objective, seconds), seconds.mean(), rtol=1e-3, atol=0)


def test_duration_quantiles_find_the_median() -> None:
    objective, seconds = DurationQuantiles(BASE), log_normal()
    objective.fit(seconds, torch.zeros(len(seconds)))
    found = best_constant(objective, seconds)
    torch.testing.assert_close(found, seconds.median(), rtol=0.05, atol=0)


def test_thresholds_find_the_typical_time() -> None:
    objective, seconds = Thresholds(BASE), log_normal()
    objective.fit(seconds, torch.zeros(len(seconds)))
    expected = torch.expm1(torch.log1p(seconds).mean())
    torch.testing.assert_close(best_constant(objective, seconds), expected, rtol=0.1, atol=0)


def test_quantiles_do_not_know_of_the_duration_but_seconds_do() -> None:
    short, long = log_normal(), log_normal(shift=2.0)
    lengths = torch.cat([torch.full_like(short, -1.0), torch.full_like(long, 1.0)])
    objective = DurationQuantiles(BASE)
    objective.fit(torch.cat([short, long]), lengths)
    quantiles = objective.quantiles_of(torch.cat([short, long]), lengths)
    assert float(quantiles[: len(short)].mean()) == pytest.approx(0.5, abs=0.02)
    assert float(quantiles[len(short) :].mean()) == pytest.approx(0.5, abs=0.02)
    same = torch.zeros(2, 1)
    seconds = objective.seconds(same, torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(seconds[0], short.median(), rtol=0.05, atol=0)
    torch.testing.assert_close(seconds[1], long.median(), rtol=0.05, atol=0)


def test_many_watches_of_nothing_stand_in_the_middle_of_their_ties() -> None:
    seconds = torch.cat([torch.zeros(500), torch.arange(1.0, 501.0)])
    objective = DurationQuantiles(BASE)
    objective.fit(seconds, torch.zeros(1000))
    quantile = objective.quantiles_of(torch.zeros(1), torch.zeros(1))
    assert float(quantile) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_larger_outputs_mean_longer_times(name: str) -> None:
    objective = OBJECTIVES[name](BASE)
    objective.fit(log_normal(), torch.zeros(4000))
    rising = objective.initial() + torch.linspace(-3, 3, 13).unsqueeze(-1)
    seconds = objective.seconds(rising, torch.zeros(13))
    assert (seconds.diff() >= 0).all()
    assert float(seconds[-1]) > float(seconds[0]) >= 0


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_before_it_saw_data_the_typical_time_is_that_of_the_base(name: str) -> None:
    objective = OBJECTIVES[name](BASE)
    seconds = float(objective.seconds(objective.initial(), torch.zeros(())))
    assert seconds == pytest.approx(math.expm1(BASE), rel=0.15)


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_a_split_without_times_changes_nothing_and_extremes_stay_finite(name: str) -> None:
    objective = OBJECTIVES[name](BASE)
    none = torch.zeros(0)
    objective.fit(none, none)
    outputs = objective.initial() + torch.tensor([[-1e4], [0.0], [1e4]])
    outputs.requires_grad_()
    objective.errors(outputs, torch.tensor([0.0, 5.0, 1e6]), torch.zeros(3)).sum().backward()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()
    assert objective.seconds(outputs, torch.tensor([-1e9, 0.0, 1e9])).isfinite().all()
