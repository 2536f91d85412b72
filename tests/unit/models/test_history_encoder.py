"""Every history encoder: no state sees its future, and the empty history has a state."""

import pytest
import torch

from models.config import EncoderName
from models.history_encoder import HistoryEncoder

BATCH, LENGTH, DIM = 3, 6, 8
NAMES: tuple[EncoderName, ...] = ("mean", "transformer", "hstu")


def encoder_of(name: EncoderName, dropout: float = 0.0) -> HistoryEncoder:
    """Build an encoder whose biases and convolutions have been learned."""
    torch.manual_seed(1)
    encoder = HistoryEncoder(name, DIM, layers=2, heads=2, dropout=dropout, length=LENGTH)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder.eval()


@pytest.fixture(params=NAMES)
def encoder(request: pytest.FixtureRequest) -> HistoryEncoder:
    name: EncoderName = request.param
    return encoder_of(name, dropout=0.3)


def test_a_state_depends_on_its_past_alone(encoder: HistoryEncoder) -> None:
    tokens = torch.randn(BATCH, LENGTH, DIM)
    states = encoder(tokens)
    assert states.shape == (BATCH, LENGTH + 1, DIM)
    for k in range(LENGTH):
        changed = tokens.clone()
        changed[:, k] = torch.randn(BATCH, DIM)
        others = encoder(changed)
        torch.testing.assert_close(others[:, : k + 1], states[:, : k + 1], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(others[:, k + 1 :], states[:, k + 1 :])


def test_a_shorter_history_gives_the_states_of_a_longer_one(encoder: HistoryEncoder) -> None:
    tokens = torch.randn(BATCH, LENGTH, DIM)
    states = encoder(tokens)
    for k in range(LENGTH + 1):
        torch.testing.assert_close(encoder(tokens[:, :k]), states[:, : k + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["transformer", "hstu"])
def test_the_order_of_events_matters_to_blocks(name: EncoderName) -> None:
    encoder = encoder_of(name)
    tokens = torch.randn(BATCH, LENGTH, DIM)
    assert not torch.allclose(encoder(tokens)[:, -1], encoder(tokens.flip(1))[:, -1])


def test_the_mean_is_that_of_what_was_seen() -> None:
    encoder = encoder_of("mean")
    tokens = torch.randn(BATCH, LENGTH, DIM)
    whole = torch.cat([encoder.start.expand(BATCH, 1, -1), tokens], dim=1)
    expected = encoder.norm(whole[:, :4].mean(1))
    torch.testing.assert_close(encoder(tokens)[:, 3], expected)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_stays_near_and_gradients_flow(name: EncoderName) -> None:
    encoder = encoder_of(name)
    tokens = torch.randn(BATCH, LENGTH, DIM)
    exact = encoder(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rough = encoder(tokens)
    rough.sum().backward()
    torch.testing.assert_close(rough.float(), exact, rtol=0.1, atol=0.15)
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []
