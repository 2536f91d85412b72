"""`--predictions`: what the report's figures were computed from, in the data's own ids."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from train.order import Order


def write_predictions(folder: Path, orders: Sequence[Order]) -> None:
    """Copy `<model>.parquet` of every trained model into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for order in orders:
        name = f"{order.model}.parquet"
        partial = folder / f".{name}.partial"
        shutil.copyfile(order.storage.fetch(order.artifact) / name, partial)
        partial.replace(folder / name)
