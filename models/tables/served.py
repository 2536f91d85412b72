"""The owner's side of a lookup: what one worker asks of our rows, and its answer."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.tables.gradients import Contribution


@dataclass(frozen=True)
class Served:
    """Rows, or sums of rows, that another worker asked for.

    Shapes: `ids` (n,) int64 numbers in our shard; `lengths` (bags,) how many of them a bag has,
    None where every id is answered by its row.
    """

    ids: Tensor
    lengths: Tensor | None = None

    @property
    def num_rows(self) -> int:
        """Rows of the answer."""
        return len(self.ids if self.lengths is None else self.lengths)

    def answer(self, weight: Tensor, out: Tensor) -> None:
        """Write the answer (num_rows, dim)."""
        if self.lengths is None:
            torch.index_select(weight, 0, self.ids, out=out)
        else:
            starts = self.lengths.cumsum(0) - self.lengths
            out.copy_(torch.nn.functional.embedding_bag(self.ids, weight, starts, mode="sum"))

    def contribution(self, gradients: Tensor) -> Contribution:
        """Return what the answer's gradients (num_rows, dim) say of our rows."""
        if self.lengths is None:
            return Contribution.row_by_row(self.ids, gradients)
        bags = torch.arange(len(self.lengths), device=self.ids.device)
        return Contribution(self.ids, bags.repeat_interleave(self.lengths), gradients)
