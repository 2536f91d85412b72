"""What a compiled program takes: compiled code does not check what it reads."""

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree


class Slot(BaseModel, frozen=True):
    """One tensor among the arguments; sizes that may differ from call to call are None."""

    path: tuple[int | str, ...]
    dtype: str
    shape: tuple[int | None, ...]

    def take(self, arguments: Sequence[Any]) -> Tensor:
        """Return this input.

        Raises:
            ValueError: it has another type or shape than the program was compiled for.
        """
        found: Any = arguments
        for key in self.path:
            found = found[key]
        tensor: Tensor = found
        fits = len(tensor.shape) == len(self.shape) and all(
            own in (None, size) for own, size in zip(self.shape, tensor.shape, strict=True)
        )
        if not fits or str(tensor.dtype) != self.dtype:
            raise ValueError(
                f"input {self.path}: {tensor.dtype} {list(tensor.shape)} instead of "
                f"{self.dtype} {list(self.shape)}"
            )
        return tensor.contiguous()

    @property
    def free_axes(self) -> tuple[int, ...]:
        """The axes whose size may differ from call to call."""
        return tuple(axis for axis, size in enumerate(self.shape) if size is None)


class Signature(BaseModel, frozen=True):
    """All inputs in the order of the compiled code, and whether it returns a tuple."""

    slots: tuple[Slot, ...]
    returns_tuple: bool

    @classmethod
    def of(cls, program: ExportedProgram) -> "Signature":
        """Read an exported program's.

        Raises:
            ValueError: an input is not contiguous, or the program has named arguments.
        """
        assert program.example_inputs is not None
        arguments, named = program.example_inputs
        if named:
            raise ValueError(f"named arguments {sorted(named)}")
        paths = [_keys(path) for path, _ in pytree.tree_flatten_with_path(arguments)[0]]
        nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
        inputs = [nodes[str(name)].meta["val"] for name in program.graph_signature.user_inputs]
        slots = tuple(_slot(path, value) for path, value in zip(paths, inputs, strict=True))
        returns_tuple = not program.call_spec.out_spec.is_leaf()
        return cls(slots=slots, returns_tuple=returns_tuple)

    def flat(self, arguments: Sequence[Any]) -> list[Tensor]:
        """Return the inputs in order, each of them checked."""
        return [slot.take(arguments) for slot in self.slots]


def probes(signature: Signature, examples: Sequence[Tensor], size: int) -> list[Tensor]:
    """Draw inputs of `size` rows from an exported program's example inputs.

    What is free beside the rows has another size, the same one in all inputs. Numbers are spread a
    little, so that rows differ; codes are the examples'.
    """
    generator = torch.Generator().manual_seed(size)
    drawn = []
    for slot, example in zip(signature.slots, examples, strict=True):
        tensor = example
        for axis in slot.free_axes:
            places = torch.randint(example.shape[axis], (size + axis,), generator=generator)
            tensor = tensor.index_select(axis, places)
        if tensor.is_floating_point():
            tensor = tensor * (0.9 + 0.2 * torch.rand(tensor.shape, generator=generator))
        drawn.append(tensor.detach().contiguous())
    return drawn


def _keys(path: Sequence[Any]) -> tuple[int | str, ...]:
    return tuple(entry.key if isinstance(entry, pytree.MappingKey) else entry.idx for entry in path)


def _slot(path: tuple[int | str, ...], value: Tensor) -> Slot:
    if not value.is_contiguous():
        raise ValueError(f"input {path} is not contiguous")
    shape = tuple(size if isinstance(size, int) else None for size in value.shape)
    return Slot(path=path, dtype=str(value.dtype), shape=shape)
