"""A compiled program on disk: code for this host's CPU, weights, and a probe that proves it."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor

from models.runtime.signature import Signature

CODE = "code.pt2"
WEIGHTS = "weights.pt"
PROBES = "probes.pt"
MANIFEST = "manifest.json"
HASHED = (CODE, PROBES)
"""Weights may be large: their size is compared, and the probes notice what else is wrong."""


class Tolerance(BaseModel, frozen=True):
    """How far compiled outputs may be from the exported program's: another order of sums."""

    relative: float
    absolute: float


class Facts(BaseModel, frozen=True):
    """A package's manifest, written last."""

    signature: Signature
    tolerance: Tolerance
    hashes: dict[str, str]
    weight_bytes: int


class DamagedPackageError(Exception):
    """The package is absent, incomplete or altered, or computes something else."""


class Package:
    """A loaded package, called as the exported program is.

    Weights are memory-mapped: the processes of a host share their pages. Several threads may call
    it; so many of them compute at a time as there are runners.

    Args:
        folder: what `models.runtime.compilation` wrote.
        num_runners: calls that run at a time.

    Raises:
        DamagedPackageError: the files are not as they were written, or the probes' outputs are
            further from the exported program's than the tolerance.
    """

    def __init__(self, folder: Path, num_runners: int = 1) -> None:
        facts = _verified(folder)
        self.signature = facts.signature
        try:
            self._loader = open_code(folder / CODE, num_runners)
            # The loader is handed these tensors' memory: they have to live as long as it does.
            self._weights = torch.load(folder / WEIGHTS, mmap=True, weights_only=True)
            self._loader.load_constants(self._weights, False, True, True)
            self._prove(folder, facts.tolerance)
        except RuntimeError as error:
            raise DamagedPackageError(f"{folder}: {str(error).splitlines()[0]}") from None

    def __call__(self, *arguments: Any) -> Any:
        """Run on nested tuples and dicts of tensors; keys that it does not know are left out."""
        outputs = self._loader.run(self.signature.flat(arguments))
        return tuple(outputs) if self.signature.returns_tuple else outputs[0]

    def _prove(self, folder: Path, tolerance: Tolerance) -> None:
        for probe in torch.load(folder / PROBES, weights_only=True):
            outputs = self._loader.run(probe["inputs"])
            for output, expected in zip(outputs, probe["outputs"], strict=True):
                if not is_close(output, expected, tolerance):
                    raise DamagedPackageError(f"{folder}: a probe's outputs are not as expected")


def open_code(path: Path, num_runners: int) -> torch._C._aoti.AOTIModelPackageLoader:
    """Load compiled code without its weights, and without what compiling needs."""
    return torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, num_runners, -1)


def is_close(output: Tensor, expected: Tensor, tolerance: Tolerance) -> bool:
    """Tell whether outputs agree, NaN with NaN."""
    return torch.allclose(
        output.float(),
        expected.float(),
        rtol=tolerance.relative,
        atol=tolerance.absolute,
        equal_nan=True,
    )


def hashes(folder: Path) -> dict[str, str]:
    """Return the hashes of what is hashed."""
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in HASHED}


def _verified(folder: Path) -> Facts:
    try:
        facts = Facts.model_validate_json((folder / MANIFEST).read_bytes())
        is_whole = (folder / WEIGHTS).stat().st_size == facts.weight_bytes
        if is_whole and hashes(folder) == facts.hashes:
            return facts
    except (OSError, ValidationError):
        pass
    raise DamagedPackageError(f"{folder}: no sound package")
