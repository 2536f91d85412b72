"""What lookups send back to a table: gradients of some rows, with repetitions, and their sums."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

INT32_ROWS = 2**31


@dataclass(frozen=True)
class Distinct:
    """Ids without their repetitions.

    Shapes: `ids` (n,) int64 ascending; `order` (repetitions,) what sorts the original ids, equal
    ones in their order; `starts` (n,) where in that order an id begins.
    """

    ids: Tensor
    order: Tensor
    starts: Tensor

    @classmethod
    def of(cls, ids: Tensor, num_rows: int) -> "Distinct":
        """Sort ids (repetitions,) below `num_rows`."""
        keys = ids.int() if num_rows < INT32_ROWS else ids
        ordered, order = torch.sort(keys, stable=True)
        is_first = torch.ones_like(ordered, dtype=torch.bool)
        torch.ne(ordered[1:], ordered[:-1], out=is_first[1:])
        starts = is_first.nonzero().squeeze(1)
        return cls(ordered.index_select(0, starts).long(), order, starts)

    def inverse(self) -> Tensor:
        """Return where in `ids` each original id is (repetitions,)."""
        ends = torch.cat([self.starts[1:], self.starts.new_tensor([len(self.order)])])
        numbers = torch.arange(len(self.ids), device=self.ids.device)
        inverse = torch.empty_like(self.order)
        inverse[self.order] = numbers.repeat_interleave(ends - self.starts)
        return inverse

    def own_sums(self, gradients: Tensor) -> Tensor:
        """Return each distinct id's sum (n, dim) of the gradients (repetitions, dim)."""
        return torch.nn.functional.embedding_bag(self.order, gradients, self.starts, mode="sum")

    def sums(self, source: Tensor, gradients: Tensor) -> Tensor:
        """Return each distinct id's sum (n, dim) of `gradients[source[k]]` over its repetitions k.

        A row's gradients are summed as one bag: nothing of the size of repetitions x dim is made,
        and no two threads add to the same row.
        """
        picked = source.index_select(0, self.order)
        return torch.nn.functional.embedding_bag(picked, gradients, self.starts, mode="sum")


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
        """Sum over repetitions of rows of `weight`, always in the order of the contributions."""
        contributions = [part for part in contributions if len(part.ids)]
        if not contributions:
            no_ids = torch.zeros(0, dtype=torch.int64, device=weight.device)
            return cls(no_ids, weight.new_zeros(0, weight.shape[1]))
        ids, source, gradients = _joined(contributions)
        distinct = Distinct.of(ids, len(weight))
        return cls(distinct.ids, distinct.sums(source, gradients))


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
