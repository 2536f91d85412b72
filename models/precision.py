"""The precision in which a block of operations runs."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch


def autocast(device: torch.device, precision: Literal["fp32", "bf16"]) -> torch.autocast:
    """Run matrix products in bfloat16 where the precision says so; weights stay as they are."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def own_precision(device: torch.device) -> AbstractContextManager[object]:
    """Let operations run in their inputs' precision: autocast would widen a softmax.

    Nothing at all where autocast is off, so that exported programs hold no trace of it.
    """
    if torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()
