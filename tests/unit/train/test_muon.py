"""Muon turns matrices and leaves the rest to AdamW."""

import copy

import pytest
import torch
from torch import nn

from train.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 8, 24), (2, 24, 8)])
def test_singular_values_come_near_one_and_vectors_stay(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape) * 5
    turned = orthogonal(matrices)
    values = torch.linalg.svdvals(turned)
    assert values.min() > 0.5
    assert values.max() < 1.4
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    middle = left.transpose(1, 2) @ turned @ right.transpose(1, 2)
    off_diagonal = middle - torch.diag_embed(torch.diagonal(middle, dim1=1, dim2=2))
    torch.testing.assert_close(off_diagonal, torch.zeros_like(middle), rtol=0, atol=1e-3)


def test_no_gradient_at_all_moves_nothing_but_numbers() -> None:
    assert torch.equal(orthogonal(torch.zeros(1, 4, 4)), torch.zeros(1, 4, 4))


def parts(seed: int = 0) -> tuple[nn.Linear, Muon]:
    torch.manual_seed(seed)
    layer = nn.Linear(4, 12)
    groups = [{"params": [layer.bias], "weight_decay": 0.0}]
    return layer, Muon([layer.weight], groups, rate=0.01, matrix_rate=0.1)


def stepped(layer: nn.Linear, optimizer: Muon, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, 4, generator=generator)
    optimizer.zero_grad()
    layer(x).square().mean().backward()
    optimizer.step()


def test_what_is_no_matrix_moves_as_adamw_moves_it() -> None:
    layer, optimizer = parts()
    plain = nn.Parameter(layer.bias.detach().clone())
    adamw = torch.optim.AdamW([plain], lr=0.01, weight_decay=0.0)
    for seed in range(3):
        optimizer.zero_grad()
        layer(torch.full((2, 4), float(seed))).square().mean().backward()
        assert layer.bias.grad is not None
        plain.grad = layer.bias.grad.clone()
        optimizer.step()
        adamw.step()
    torch.testing.assert_close(layer.bias, plain)


def test_a_tall_matrix_moves_as_square_ones_below_each_other() -> None:
    layer, optimizer = parts()
    before = layer.weight.detach().clone()
    stepped(layer, optimizer, 0)
    moved = (layer.weight.detach() - before).view(3, 4, 4)
    values = torch.linalg.svdvals(moved)
    assert values.min() > 0.05
    assert values.max() < 0.15


def test_the_matrices_follow_the_schedule() -> None:
    layer, optimizer = parts()
    before = layer.weight.detach().clone()
    for group in optimizer.param_groups:
        group["lr"] = 0.0
    stepped(layer, optimizer, 0)
    assert torch.equal(layer.weight, before)


def test_a_restored_optimizer_goes_on_as_it_would_have() -> None:
    layer, optimizer = parts()
    stepped(layer, optimizer, 0)
    other, restored = parts(seed=1)
    other.load_state_dict(layer.state_dict())
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for seed in (1, 2):
        stepped(layer, optimizer, seed)
        stepped(other, restored, seed)
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(layer.bias, other.bias)
