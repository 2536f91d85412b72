"""The examples that every variant trains on: arrays on disk, gathered batch by batch."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

Batch = dict[str, torch.Tensor]
Ids = npt.NDArray[np.int64]

ITEM_LAW = 0.8
"""Exponent of the items' popularity: the k-th most popular is seen k^-0.8 times as often."""
SIZES = "sizes.json"


@dataclass(frozen=True)
class Sizes:
    """How large the data, the model and a step are."""

    users: int = 1_000_000
    items: int = 500_000
    dim: int = 64
    hidden: int = 128
    history: int = 50
    batch: int = 4_096
    """Examples of a step, over all workers; also its candidates."""
    num_batches: int = 64


QUICK = Sizes(users=3_000, items=2_000, dim=16, hidden=16, history=10, batch=256, num_batches=8)


class World:
    """Users, the item each took, and the items before it, memory-mapped."""

    def __init__(self, path: Path) -> None:
        self.sizes = Sizes(**json.loads((path / SIZES).read_text()))
        self._users, self._targets, self._histories = (
            np.load(path / f"{name}.npy", mmap_mode="r")
            for name in ("users", "targets", "histories")
        )

    @staticmethod
    def make(path: Path, sizes: Sizes) -> None:
        """Draw users uniformly and items by their popularity, in no order of their ids."""
        rng = np.random.default_rng(0)
        count = sizes.batch * sizes.num_batches
        law = np.arange(1, sizes.items + 1) ** -ITEM_LAW
        bounds = np.cumsum(law) / law.sum()
        names = rng.permutation(sizes.items).astype(np.int32)

        def drawn(*shape: int) -> npt.NDArray[np.int32]:
            ranks = np.searchsorted(bounds, rng.random(shape, np.float32), side="right")
            return names[np.minimum(ranks, sizes.items - 1)]

        np.save(path / "users.npy", rng.integers(0, sizes.users, count, dtype=np.int32))
        np.save(path / "targets.npy", drawn(count))
        np.save(path / "histories.npy", drawn(count, sizes.history))
        (path / SIZES).write_text(json.dumps(asdict(sizes)))

    def batches(self, rank: int = 0, num_workers: int = 1) -> Iterator[Batch]:
        """Yield one worker's share of steps without end: shuffled anew on each pass.

        `candidates` are the step's distinct targets and uniform others, `batch` in all, the same
        for every worker; `positions` says where among them the worker's targets are.
        """
        rng = np.random.default_rng(1)
        while True:
            order = rng.permutation(len(self._users)).reshape(-1, self.sizes.batch)
            for index in order:
                candidates, positions = self._candidates(self._targets[index], rng)
                share = index[rank::num_workers]
                arrays = {
                    "users": self._users[share],
                    "targets": self._targets[share],
                    "histories": self._histories[share],
                    "candidates": candidates,
                    "positions": positions[rank::num_workers],
                }
                yield {
                    name: torch.from_numpy(array.astype(np.int64)) for name, array in arrays.items()
                }

    def _candidates(
        self, targets: npt.NDArray[np.int32], rng: np.random.Generator
    ) -> tuple[Ids, Ids]:
        distinct, positions = np.unique(targets, return_inverse=True)
        others = rng.integers(0, self.sizes.items, self.sizes.batch - len(distinct))
        return np.concatenate([distinct, others]), positions
