"""Numbers as vectors: each one by itself, its ranges told apart."""

import torch

from models.numbers import NumberEmbedding


def test_each_number_has_its_own_part_of_the_vector() -> None:
    torch.manual_seed(0)
    embedding, numbers = NumberEmbedding(3, 4), torch.randn(5, 3)
    changed = numbers.clone()
    changed[:, 1] += 1.0
    before, after = embedding(numbers), embedding(changed)
    assert before.shape == (5, 12)
    torch.testing.assert_close(before[:, :4], after[:, :4])
    torch.testing.assert_close(before[:, 8:], after[:, 8:])
    assert not torch.allclose(before[:, 4:8], after[:, 4:8])


def test_a_linear_map_of_it_fits_what_is_neither_rising_nor_falling() -> None:
    torch.manual_seed(0)
    numbers = torch.linspace(-2, 2, 200).unsqueeze(-1)
    wanted = (numbers.abs() < 0.7).float()
    embedding, last = NumberEmbedding(1, 16), torch.nn.Linear(16, 1)
    optimizer = torch.optim.Adam([*embedding.parameters(), *last.parameters()], lr=1e-2)
    for _ in range(300):
        loss = (last(embedding(numbers)) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.03


def test_no_dimensions_give_no_vector() -> None:
    assert NumberEmbedding(3, 0)(torch.randn(2, 5, 3)).shape == (2, 5, 0)
