"""The same bits for the same input and seed, so that a training can be repeated."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch.utils import deterministic

from train.position import Position


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a CPU, choose torch's deterministic kernels for the block; their cost is not measurable.

    Threads otherwise add the gradients of indexed rows in any order. On a GPU the deterministic
    kernels are slow, and weights are repeatable up to rounding only.
    """
    was_on = torch.are_deterministic_algorithms_enabled()
    was_filling: bool = deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(device.type == "cpu" or was_on, warn_only=True)
    deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_on)
        deterministic.fill_uninitialized_memory = was_filling  # type: ignore[attr-defined]


def seed_step(device: torch.device, seed: int, position: Position, rank: int) -> None:
    """Seed what a step draws by where it is, so that no generator's state needs to be kept."""
    where = (seed, position.epoch, position.step, rank)
    seed_generator(device, int(np.random.SeedSequence(where).generate_state(1)[0]))


def seed_generator(device: torch.device, seed: int) -> None:
    """Seed the generator of a device that models draw from.

    `torch.manual_seed` would cost a millisecond and some memory for good: it keeps a stack trace
    for each kind of accelerator that has not been used yet.
    """
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
