"""A lookup that is part of the autograd graph without making its table's gradient a tensor."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


def looked_up(read: Callable[[], Tensor], report: Callable[[Tensor], None]) -> Tensor:
    """Return what `read` returns; backward hands the gradient of it to `report`."""
    if not torch.is_grad_enabled():
        return read()
    anchor = torch.zeros((), requires_grad=True)  # makes backward come by; gets no gradient itself
    values: Tensor = _Lookup.apply(anchor, read, report)  # type: ignore[no-untyped-call]
    return values


@dataclass(frozen=True)
class Bags:
    """The ids of a pooled lookup without their padding.

    Shapes: `ids`, `source` (n,), an id and its bag; `starts` (bags,) where a bag begins;
    `shares` (bags, 1) one over the number of its ids.
    """

    ids: Tensor
    source: Tensor
    starts: Tensor
    shares: Tensor

    @classmethod
    def of(cls, ids: Tensor, mask: Tensor, dtype: torch.dtype) -> "Bags":
        """Pick the ids (..., n) where mask."""
        size = ids.shape[-1]
        chosen = mask.reshape(-1).nonzero().squeeze(1)
        counts = mask.reshape(-1, size).sum(1)
        shares = counts.clamp(min=1).to(dtype).reciprocal_()[:, None]
        source = chosen.div(max(size, 1), rounding_mode="floor")
        picked = ids.reshape(-1)
        if len(chosen) < len(picked):
            picked = picked.index_select(0, chosen)
        return cls(picked, source, counts.cumsum(0) - counts, shares)

    def at(self, ids: Tensor) -> "Bags":
        """Return the same bags of other ids (n,)."""
        return replace(self, ids=ids)

    def means(self, weight: Tensor) -> Tensor:
        """Return the mean of each bag's rows (bags, dim)."""
        sums = torch.nn.functional.embedding_bag(self.ids, weight, self.starts, mode="sum")
        return sums.mul_(self.shares)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, read: Callable[[], Tensor], report: Callable[[Tensor], None]
    ) -> Tensor:
        ctx.report = report
        return read()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, None]:
        ctx.report(gradients[0])
        return None, None, None
