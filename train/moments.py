"""What an optimizer takes over from a checkpoint."""

import torch

from train.state import State


def load_moments(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Take over moments, not decays: a population's member goes on with its own."""
    own = [
        {key: value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, values in zip(optimizer.param_groups, own, strict=True):
        group.update(values)
