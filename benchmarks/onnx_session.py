"""The ranker under ONNX Runtime; needs the extra `onnx`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

Tensors = dict[str, Tensor]


def onnx_call(
    user_side: nn.Module | None, item_side: nn.Module, user: Any, items: Tensors, folder: Path
) -> Callable[[], Tensor]:
    """Return a call of the programs on the inputs, one after the other, in one thread.

    Args:
        user_side: makes the item side's first argument; None hands it `user` itself.
        item_side: takes the state and the items.
        user: the user's inputs.
        items: the candidates' inputs.
        folder: for the ONNX files.
    """
    second = _Session(item_side, (user_side(user) if user_side else user, items), folder)
    if user_side is None:
        return lambda: second(user, items)[0]
    first = _Session(user_side, (user,), folder)
    return lambda: second(first(user), items)[0]


class _Session:
    """One exported program."""

    def __init__(self, module: nn.Module, arguments: tuple[Any, ...], folder: Path) -> None:
        path = folder / f"{type(module).__name__}.onnx"
        # A dict at the end would be taken for keyword arguments.
        given = (*arguments, {})
        torch.onnx.export(module, given, path, dynamo=True, external_data=False, verbose=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._order = [entry.name for entry in self._session.get_inputs()]

    def __call__(self, *arguments: Any) -> list[Tensor]:
        """Run on nested tuples and dicts of tensors."""
        leaves = pytree.tree_leaves(arguments)
        feed = {name: leaf.numpy() for name, leaf in zip(self._order, leaves, strict=True)}
        return [torch.from_numpy(output) for output in self._session.run(None, feed)]
