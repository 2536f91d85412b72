"""Compiles one exported program for this host: `python -m models.runtime.compilation`.

A process of its own: the compiler's memory is given back, and a crash harms no replica.
"""

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

import torch
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from models.runtime.package import (
    CODE,
    MANIFEST,
    PROBES,
    WEIGHTS,
    Facts,
    Package,
    Tolerance,
    hashes,
    open_code,
)
from models.runtime.signature import Signature, probes

PROBE_SIZES = (1, 2, 37)
FP32 = Tolerance(relative=1e-4, absolute=1e-5)
BF16 = Tolerance(relative=3e-2, absolute=5e-3)
"""One rounding of a bf16 product is 4e-3 of it; logits collect a few."""
OPTIONS = {"aot_inductor.package_constants_in_so": False}
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LEAST_URGENT = 19


def compile_program(source: Path, folder: Path) -> None:
    """Fill an empty folder with the package of an exported program, and try it out.

    Raises:
        ValueError: the program's inputs are of a kind that compiled code would misread.
        DamagedPackageError: the compiled program computes something else.
    """
    program = torch.export.load(source)
    signature = Signature.of(program)
    torch.save(_probes(program, signature), folder / PROBES)
    torch._inductor.aoti_compile_and_package(
        program, package_path=str(folder / CODE), inductor_configs=OPTIONS
    )
    names = open_code(folder / CODE, 1).get_constant_fqns()
    torch.save(_constants(program, names), folder / WEIGHTS)
    facts = Facts(
        signature=signature,
        tolerance=_tolerance(program),
        hashes=hashes(folder),
        weight_bytes=(folder / WEIGHTS).stat().st_size,
    )
    (folder / MANIFEST).write_text(facts.model_dump_json(indent=1))
    Package(folder)


def _probes(program: ExportedProgram, signature: Signature) -> list[dict[str, list[torch.Tensor]]]:
    """Return inputs and what the exported program makes of them, for a few numbers of rows."""
    assert program.example_inputs is not None
    examples, spec = pytree.tree_flatten(program.example_inputs[0])
    has_free = any(slot.free_axes for slot in signature.slots)
    module = program.module()
    found = []
    with torch.inference_mode():
        for size in PROBE_SIZES if has_free else PROBE_SIZES[:1]:
            inputs = probes(signature, examples, size)
            outputs = pytree.tree_leaves(module(*pytree.tree_unflatten(inputs, spec)))
            found.append({"inputs": inputs, "outputs": [output.clone() for output in outputs]})
    return found


def _constants(program: ExportedProgram, names: list[str]) -> dict[str, torch.Tensor]:
    """Return weights and buffers by their names, each one's memory its own."""
    tensors = {**program.constants, **program.state_dict}
    return {name: tensors[name].detach().clone().contiguous() for name in names}


def _tolerance(program: ExportedProgram) -> Tolerance:
    dtypes = {node.meta["val"].dtype for node in program.graph.nodes if _is_tensor(node)}
    return BF16 if torch.bfloat16 in dtypes else FP32


def _is_tensor(node: torch.fx.Node) -> bool:
    return isinstance(node.meta.get("val"), torch.Tensor)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _main() -> None:
    parser = argparse.ArgumentParser("models.runtime.compilation")
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--in-background", action="store_true")
    options = parser.parse_args()
    _die_with_parent()
    if options.in_background:
        os.nice(LEAST_URGENT)
    compile_program(options.source, options.folder)


if __name__ == "__main__":
    _main()
