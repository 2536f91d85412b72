"""The two towers as exported programs: aten operators only, any number of rows."""

from pathlib import Path

from torch import Tensor
from torch.export import Dim

from models.export import rows, save_program
from models.two_tower import (
    ITEM_TOWER_INPUTS,
    USER_TOWER_INPUTS,
    ItemTower,
    TwoTower,
    UserTower,
)


def export_two_tower(model: TwoTower, example: dict[str, Tensor], folder: Path) -> None:
    """Write `user_tower.pt2` and `item_tower.pt2`.

    Args:
        model: the trained model.
        example: the inputs of both towers, of any number of rows.
        folder: where the programs go.
    """
    towers = {
        "user_tower": (UserTower(model), USER_TOWER_INPUTS, Dim("users")),
        "item_tower": (ItemTower(model), ITEM_TOWER_INPUTS, Dim("items")),
    }
    for name, (tower, names, size) in towers.items():
        inputs = rows(example, names, 2)
        shapes = ({key: {0: size} for key in names},)
        save_program(tower, (inputs,), shapes, folder / f"{name}.pt2")
