"""Programs on another device than the host's CPU."""

from collections.abc import Container
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass
from torch.utils import _pytree as pytree

from models.runtime.programs import Program, Programs


class DevicePrograms:
    """Opens some programs on a device, operator by operator, and all others on the host.

    Nothing is compiled for the device.

    Args:
        host: opens the others.
        device: where the some run.
        names: theirs.
    """

    def __init__(self, host: Programs, device: torch.device, names: Container[str]) -> None:
        self.host = host
        self.device = device
        self.names = names

    def open(self, source: Path, digest: str) -> Program:
        """Return the program of an exported file."""
        if source.stem not in self.names:
            return self.host.open(source, digest)
        moved = move_to_device_pass(torch.export.load(source), self.device)
        return DeviceProgram(moved.module(), self.device)


class DeviceProgram:
    """Takes tensors from anywhere; what it gives stays on the device.

    Args:
        program: lies on the device.
        device: the one.
    """

    def __init__(self, program: Program, device: torch.device) -> None:
        self.program = program
        self.device = device

    def __call__(self, *arguments: Any) -> Any:
        """Copy what is elsewhere, and run."""
        return self.program(*pytree.tree_map_only(Tensor, self._here, arguments))

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device)
