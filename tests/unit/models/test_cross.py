"""The cross network equals its formula."""

import torch

from models.cross import CrossNetwork


def test_the_split_network_equals_the_formula_on_joined_inputs() -> None:
    torch.manual_seed(0)
    network = CrossNetwork(5, 4, layers=2, rank=3)
    user, items = torch.randn(2, 5), torch.randn(2, 6, 4)
    start = torch.cat([user.unsqueeze(1).expand(2, 6, 5), items], dim=-1)
    expected = start
    for down, up in zip(network.down, network.up, strict=True):
        matrix = up.weight @ down.weight
        expected = start * (expected @ matrix.T + up.bias) + expected
    crossed = network.item_side(user, network.user_side(user), items)
    torch.testing.assert_close(crossed, expected)


def test_without_layers_the_input_passes() -> None:
    network = CrossNetwork(2, 3, layers=0, rank=4)
    user, items = torch.randn(1, 2), torch.randn(1, 2, 3)
    crossed = network.item_side(user, network.user_side(user), items)
    torch.testing.assert_close(crossed[..., 2:], items)
