"""The causal transformer: no state sees its future, and the empty history has a state."""

import pytest
import torch

from models.transformer import CausalTransformer

BATCH, LENGTH, DIM = 3, 6, 8


@pytest.fixture(params=[0, 2])
def transformer(request: pytest.FixtureRequest) -> CausalTransformer:
    torch.manual_seed(1)
    layers: int = request.param
    return CausalTransformer(DIM, layers=layers, heads=2, dropout=0.3, length=LENGTH).eval()


def test_a_state_depends_on_its_past_alone(transformer: CausalTransformer) -> None:
    tokens = torch.randn(BATCH, LENGTH, DIM)
    states = transformer(tokens)
    assert states.shape == (BATCH, LENGTH + 1, DIM)
    for k in range(LENGTH):
        changed = tokens.clone()
        changed[:, k] = torch.randn(BATCH, DIM)
        others = transformer(changed)
        torch.testing.assert_close(others[:, : k + 1], states[:, : k + 1], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(others[:, k + 1 :], states[:, k + 1 :])


def test_a_shorter_history_gives_the_states_of_a_longer_one(
    transformer: CausalTransformer,
) -> None:
    tokens = torch.randn(BATCH, LENGTH, DIM)
    states = transformer(tokens)
    for k in range(LENGTH + 1):
        torch.testing.assert_close(
            transformer(tokens[:, :k]), states[:, : k + 1], rtol=1e-5, atol=1e-6
        )


def test_the_order_of_events_matters_to_layers() -> None:
    torch.manual_seed(1)
    transformer = CausalTransformer(DIM, layers=1, heads=2, dropout=0.0, length=LENGTH).eval()
    tokens = torch.randn(BATCH, LENGTH, DIM)
    assert not torch.allclose(transformer(tokens)[:, -1], transformer(tokens.flip(1))[:, -1])


def test_without_layers_the_state_is_the_mean_of_what_was_seen() -> None:
    transformer = CausalTransformer(DIM, layers=0, heads=2, dropout=0.0, length=LENGTH).eval()
    tokens = torch.randn(BATCH, LENGTH, DIM)
    whole = torch.cat([transformer.start.expand(BATCH, 1, -1), tokens], dim=1)
    expected = transformer.norm(whole[:, :4].mean(1))
    torch.testing.assert_close(transformer(tokens)[:, 3], expected)


def test_autocast_leaves_attention_in_float32_and_gradients_flowing() -> None:
    torch.manual_seed(1)
    transformer = CausalTransformer(DIM, layers=1, heads=2, dropout=0.0, length=LENGTH)
    tokens = torch.randn(BATCH, LENGTH, DIM)
    exact = transformer(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rough = transformer(tokens)
    rough.sum().backward()
    torch.testing.assert_close(rough.float(), exact, rtol=0.1, atol=0.1)
    assert all(p.grad is not None for p in transformer.parameters())
