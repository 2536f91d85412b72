"""Seeding a device's generator draws what seeding torch draws."""

import torch

from train.repeatable import seed_generator


def test_a_seeded_generator_draws_what_a_seeded_torch_draws() -> None:
    torch.manual_seed(2**31 + 7)
    wanted = torch.rand(5)
    torch.rand(3)
    seed_generator(torch.device("cpu"), 2**31 + 7)
    assert torch.equal(torch.rand(5), wanted)
