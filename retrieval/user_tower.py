"""The exported user tower as a function from the assembler's inputs to vectors."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from features.assembly import Inputs

RANKER_ONLY = ("user_rates",)


class UserTower:
    """Runs the exported program.

    Args:
        program: takes the user inputs without RANKER_ONLY as one dict of tensors.
    """

    def __init__(self, program: Callable[..., torch.Tensor]) -> None:
        self.program = program

    def vectors(self, inputs: Inputs) -> npt.NDArray[np.float32]:
        """Return unit-norm user vectors (batch, dim)."""
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(array))
            for name, array in inputs.items()
            if name not in RANKER_ONLY
        }
        with torch.inference_mode():
            vectors: npt.NDArray[np.float32] = self.program(tensors).float().numpy()
        return vectors
