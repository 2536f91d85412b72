"""Whether tables fit into memory, asked before they are made."""

import torch

from cluster.errors import InputError
from cluster.memory import Memory
from models.tables.optimizer import Learning

GB = 1e9


class Capacity:
    """Counts the memory that tables take one after the other.

    Args:
        device: where the rows are to be.
        learning: whose state they have.
        num_workers: that share the rows of a sharded table.
    """

    def __init__(self, device: torch.device, learning: Learning, num_workers: int) -> None:
        self.learning = learning
        self.num_workers = num_workers
        self._where = "the GPU" if device.type == "cuda" else "the machine"
        self._left = (
            float(torch.cuda.mem_get_info(device)[0])
            if device.type == "cuda"
            else Memory().available_bytes()
        )

    def take(self, name: str, shape: tuple[int, int], num_bytes: int, *, is_sharded: bool) -> None:
        """Count a table (rows, dim) of which this worker holds `num_bytes`.

        Raises:
            InputError: it does not fit beside those that were counted before.
        """
        if num_bytes > self._left:
            rows, dim = shape
            share = f"of {self.num_workers} workers' share" if is_sharded else "whole"
            raise InputError(
                f"embedding table {name!r}, {rows:,} rows x {dim} ({share}, "
                f"{self.learning.optimizer}): needs {num_bytes / GB:.2f} GB, {self._where} has "
                f"{max(self._left, 0) / GB:.2f} GB left; {self._advice(is_sharded)}"
            )
        self._left -= num_bytes

    def _advice(self, is_sharded: bool) -> str:
        ways = (
            ["raise train.num_workers"]
            if is_sharded
            else ['set train.embedding_placement = "row_sharded" and more workers']
        )
        if self.learning.optimizer == "adamw":
            ways.append('set embedding_optimizer = "rowwise_adagrad"')
        return " or ".join([*ways, "make dim smaller"])
