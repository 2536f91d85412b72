"""Item vectors: the exported item tower over the whole catalogue."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from cluster.errors import InputError
from cluster.progress import ProgressBar
from features.assembly import Assembler
from features.catalogue import Catalogue

BATCH = 4096
NORM_TOLERANCE = 1e-3

Program = Callable[[dict[str, torch.Tensor]], torch.Tensor]


def item_vectors(item_tower: Program, catalogue: Catalogue) -> npt.NDArray[np.float32]:
    """Return unit-norm vectors (items + 1, dim), row 0 zero.

    Raises:
        InputError: the tower gives vectors that no index can hold.
    """
    chunks = []
    with ProgressBar("item vectors", catalogue.num_items) as progress:
        for begin in range(1, catalogue.num_items + 1, BATCH):
            rows = np.arange(begin, min(begin + BATCH, catalogue.num_items + 1))
            chunks.append(_vectors(item_tower, catalogue, rows))
            progress.advance(len(rows))
    vectors = np.concatenate([np.zeros((1, chunks[0].shape[1]), np.float32), *chunks])
    _check(vectors, catalogue)
    return vectors


def _vectors(
    item_tower: Program, catalogue: Catalogue, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    inputs = Assembler.static_item_inputs(catalogue.encoded.take(rows))
    tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
    with torch.inference_mode():
        vectors: npt.NDArray[np.float32] = item_tower(tensors).float().numpy()
    return vectors


def _check(vectors: npt.NDArray[np.float32], catalogue: Catalogue) -> None:
    norms = np.linalg.norm(vectors[1:], axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))
    if len(wrong):
        item = catalogue.table["item_id"][int(wrong[0])]
        raise InputError(
            f"item_tower.pt2: {len(wrong)} of {len(norms)} item vectors are not unit-norm, "
            f"the first is item {item!r} with norm {norms[wrong[0]]}"
        )
