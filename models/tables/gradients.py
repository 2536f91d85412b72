"""What lookups send back to a table: gradients of some rows, with repetitions, and their sums."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

INT32_ROWS = 2**31


@dataclass(frozen=True)
class Contribution:
    """Gradients of rows: row `ids[k]` gets `gradients[source[k]]`.

    Shapes: `ids`, `source` (n,) int64; `gradients` (m, dim). A pooled lookup has one gradient per
    bag, and many rows share it.
    """

    ids: Tensor
    source: Tensor
    gradients: Tensor

    @classmethod
    def row_by_row(cls, ids: Tensor, gradients: Tensor) -> "Contribution":
        """Give row `ids[k]` the gradient k."""
        return cls(ids, torch.arange(len(ids), device=ids.device), gradients)


@dataclass(frozen=True)
class RowGradients:
    """The gradients of distinct rows: `ids` (n,) ascending, `sums` (n, dim)."""

    ids: Tensor
    sums: Tensor

    @classmethod
    def summed(cls, contributions: Sequence[Contribution], weight: Tensor) -> "RowGradients":
        """Sum over repetitions of rows of `weight`, always in the order of the contributions.

        Rows are sorted, and every row's gradients summed as one bag: nothing of the size of
        ids x dim is made, and no two threads add to the same row.
        """
        contributions = [part for part in contributions if len(part.ids)]
        if not contributions:
            return cls(
                weight.new_zeros(0, dtype=torch.int64), weight.new_zeros(0, *weight.shape[1:])
            )
        ids, source, gradients = _joined(contributions)
        keys = ids.int() if len(weight) < INT32_ROWS else ids
        ordered, order = torch.sort(keys, stable=True)
        is_first = torch.ones_like(ordered, dtype=torch.bool)
        torch.ne(ordered[1:], ordered[:-1], out=is_first[1:])
        starts = is_first.nonzero().squeeze(1)
        sums = torch.nn.functional.embedding_bag(source[order], gradients, starts, mode="sum")
        return cls(ordered[starts].long(), sums)


def _joined(contributions: Sequence[Contribution]) -> tuple[Tensor, Tensor, Tensor]:
    if len(contributions) == 1:
        (only,) = contributions
        return only.ids, only.source, only.gradients
    firsts = [0]
    for part in contributions:
        firsts.append(firsts[-1] + len(part.gradients))
    sources = [part.source + first for part, first in zip(contributions, firsts, strict=False)]
    return (
        torch.cat([part.ids for part in contributions]),
        torch.cat(sources),
        torch.cat([part.gradients for part in contributions]),
    )
