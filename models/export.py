"""Modules to exported programs: aten operators only, any number of rows."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim

from models.ranker import (
    ITEM_INPUTS,
    USER_INPUTS,
    BatchProgram,
    ItemsProgram,
    Ranker,
    UserProgram,
)

Tensors = dict[str, torch.Tensor]


def export_ranker(ranker: Ranker, example: Tensors, folder: Path) -> None:
    """Write `ranker_user.pt2`, `ranker_items.pt2` and, for several requests, `ranker_batch.pt2`.

    Args:
        ranker: the trained model.
        example: its inputs, of any number of rows.
        folder: where the programs go.
    """
    user = rows(example, USER_INPUTS, 1)
    items = rows(example, ITEM_INPUTS, 2)
    user_program, items_program = UserProgram(ranker), ItemsProgram(ranker)
    save_program(user_program, (user,), None, folder / "ranker_user.pt2")
    with torch.inference_mode():
        state = user_program.eval()(user)
    many = {name: {0: Dim("candidates")} for name in items}
    shapes: tuple[Any, ...] = (({},) * len(state), many)
    save_program(items_program, (state, items), shapes, folder / "ranker_items.pt2")
    _export_batch(ranker, example, folder / "ranker_batch.pt2")


def rows(example: Tensors, names: tuple[str, ...], size: int) -> Tensors:
    """Return `size` rows of the named inputs, repeating what there is."""
    return {name: example[name][torch.arange(size) % len(example[name])].clone() for name in names}


def save_program(module: nn.Module, inputs: tuple[Any, ...], shapes: Any, path: Path) -> None:
    """Put a module into evaluation mode, export it by example inputs, and write the program."""
    module.eval()
    with torch.no_grad():
        program = torch.export.export(module, inputs, dynamic_shapes=shapes)
    torch.export.save(program, path)


def _export_batch(ranker: Ranker, example: Tensors, path: Path) -> None:
    """Export any number of requests with any number of candidates each."""
    requests, candidates = 2, 3  # sizes that differ from each other and from 1 stay free
    users = rows(example, USER_INPUTS, requests)
    flat = rows(example, ITEM_INPUTS, requests * candidates)
    shape = requests, candidates
    items = {name: tensor.reshape(*shape, *tensor.shape[1:]) for name, tensor in flat.items()}
    free = Dim("requests"), Dim("candidates")
    shapes = (
        {name: {0: free[0]} for name in users},
        {name: dict(enumerate(free)) for name in items},
    )
    save_program(BatchProgram(ranker), (users, items), shapes, path)
