"""Dropout by bytes drops its share, keeps the mean, and repeats with the seed."""

import pytest
import torch

from models.dropout import Dropout


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_it_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(100_003)
    dropped = Dropout(share).train()(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.005)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)


def test_every_place_is_dropped_alike() -> None:
    """Bytes of one word are as random as each other, the highest bit too."""
    torch.manual_seed(0)
    share = (Dropout(0.75).train()(torch.ones(20_000, 8)) == 0).float().mean(0)
    torch.testing.assert_close(share, torch.full((8,), 0.75), rtol=0, atol=0.02)


def test_the_seed_decides() -> None:
    dropout, drawn = Dropout(0.5).train(), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(dropout(torch.ones(64)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_evaluation_changes_nothing() -> None:
    x = torch.randn(5, 3)
    assert torch.equal(Dropout(0.9).eval()(x), x)


def test_gradients_flow_where_values_did() -> None:
    torch.manual_seed(0)
    x = torch.ones(64, requires_grad=True)
    y = Dropout(0.5).train()(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())
