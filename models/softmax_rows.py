"""What a softmax over items is asked: targets, weights, offsets, and items that do not compete."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SoftmaxRows:
    """What each row of a softmax is asked.

    Shapes: `targets` (rows,) int64 item columns; `weights` (rows,) float32; `offsets` (items,)
    float32, added to an item's logit where it is not the row's target. `chunk` is the number of
    rows that are computed together; None chooses it by the device. Items that are `barred` in a
    row are left out of its softmax.
    """

    targets: Tensor
    weights: Tensor
    offsets: Tensor
    chunk: int | None = None
    barred: "Barred | None" = None


@dataclass(frozen=True)
class Barred:
    """Items that do not compete in a row, as an answer would not hold them: what a user had.

    Rows share lists: row k is barred from the first `counts[k]` entries of list `lists[k]`, but for
    its own target. Shapes: `columns` (lists, n) int64 item columns, below 0 for none; `lists`,
    `counts` (rows,) int64.
    """

    columns: Tensor
    lists: Tensor
    counts: Tensor

    def hide(self, logits: Tensor, targets: Tensor, part: slice) -> None:
        """Set a chunk's barred logits to minus infinity, and perhaps those of its targets."""
        columns = self.columns[self.lists[part]]
        places = torch.arange(columns.shape[1], device=columns.device)
        is_barred = (places < self.counts[part, None]) & (columns >= 0)
        logits.scatter_(1, torch.where(is_barred, columns, targets), -torch.inf)
