"""The precision in which a block of operations runs."""

from contextlib import AbstractContextManager, nullcontext

import torch


def own_precision(device: torch.device) -> AbstractContextManager[object]:
    """Let operations run in their inputs' precision: autocast would widen a softmax.

    Nothing at all where autocast is off, so that exported programs hold no trace of it.
    """
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
