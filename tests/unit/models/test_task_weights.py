"""Weights of the tasks: fixed, by uncertainty, by gradients."""

import pytest
import torch

from models.task_weights import TASK_WEIGHTS, GradientWeights, UncertaintyWeights


def descend(weights: torch.nn.Module, losses: torch.Tensor, steps: int = 300) -> None:
    """Let only the weights learn while the network stands still."""
    optimizer = torch.optim.Adam(weights.parameters(), lr=1e-2)
    for _ in range(steps):
        shared = torch.ones(2, requires_grad=True)
        optimizer.zero_grad()
        weights(losses * shared.sum() / 2, shared).backward()
        optimizer.step()


@pytest.mark.parametrize("name", list(TASK_WEIGHTS))
def test_the_first_step_weighs_as_configured(name: str) -> None:
    weights = TASK_WEIGHTS[name]([1.0, 0.5], [0.5, 0.5])
    shared = torch.ones(3, requires_grad=True)
    losses = torch.stack([shared.sum(), 2 * shared.sum()])
    (gradient,) = torch.autograd.grad(weights(losses, shared), shared)
    torch.testing.assert_close(gradient, torch.full((3,), 2.0))


def test_uncertainty_settles_where_every_loss_costs_a_half() -> None:
    weights = UncertaintyWeights([1.0, 1.0], [0.5, 0.5])
    losses = torch.tensor([0.05, 2.0])
    descend(weights, losses)
    variance = torch.exp(10 * weights.log_variance.detach())
    torch.testing.assert_close(losses / variance, torch.full((2,), 0.5), rtol=0.05, atol=0)


def test_a_rare_task_counts_from_the_first_step() -> None:
    weights = UncertaintyWeights([1.0, 1.0], [0.05, 0.5])
    losses = torch.tensor([0.05, 0.5], requires_grad=True)
    (gradient,) = torch.autograd.grad(weights(losses, losses), losses)
    torch.testing.assert_close(gradient, torch.tensor([10.0, 1.0]))


def test_gradients_of_unequal_size_are_balanced() -> None:
    weights = GradientWeights([1.0, 1.0], [0.1, 1.0])
    descend(weights, torch.tensor([0.1, 1.0]))
    shares = torch.softmax(10 * weights.scores.detach(), 0)
    torch.testing.assert_close(shares[0] * 0.1, shares[1] * 1.0, rtol=0.1, atol=0)


def test_the_task_that_lags_behind_pulls_harder() -> None:
    weights = GradientWeights([1.0, 1.0], [2.0, 1.0])  # the first has halved, the second stands
    descend(weights, torch.ones(2))
    shares = torch.softmax(10 * weights.scores.detach(), 0)
    assert shares[1] > 1.2 * shares[0]


def test_a_task_without_labels_in_a_batch_is_no_number_s_end() -> None:
    weights = GradientWeights([1.0, 1.0], [0.5, 0.5])
    shared = torch.ones(2, requires_grad=True)
    loss = weights(torch.stack([shared.sum(), shared.sum() * 0]), shared)
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in weights.parameters())
