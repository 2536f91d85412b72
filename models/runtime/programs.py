"""What turns a bundle's program files into callables."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

Program = Callable[..., Any]
"""Takes nested tuples and dicts of tensors, as the exported module does."""


class Programs(Protocol):
    """Opens program files; knows what a host makes of them, not what they compute."""

    def open(self, source: Path, digest: str) -> Program:
        """Return the program of an exported file, whose content has the hash `digest`."""
        ...


class ExportedPrograms:
    """Runs programs as they were exported, operator by operator."""

    def open(self, source: Path, digest: str) -> Program:
        """Load the file."""
        program: Program = torch.export.load(source).module()
        return program
