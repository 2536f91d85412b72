"""The probabilities of a softmax over items, a chunk of rows at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.softmax_rows import SoftmaxRows

CHUNK_LOGITS = {"cpu": 2**21, "cuda": 2**26}
"""Logits that are held at once: on a CPU about what its caches hold."""
BIAS_COLUMNS = {"cpu": 2, "cuda": 8}
"""Columns by which products carry the offsets: two are used; tensor cores want multiples of 8."""
LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class Chunk:
    """Some rows of the softmax; all of it is overwritten by the next chunk.

    Shapes: `shares` (rows, items), probabilities but for a factor per row, `factors` (rows, 1);
    `own` (rows,) the probabilities of the rows' targets.
    """

    part: slice
    shares: Tensor
    factors: Tensor
    own: Tensor


class SoftmaxChunks:
    """Computes logits of unit vectors and their softmax, chunk by chunk in one buffer.

    A logit is at most its offset above the scale. Where the scale is small enough that a target
    cannot vanish beside that, a CPU needs one pass over the logits: powers of two, without looking
    for the largest first and without dividing by the sum.

    Args:
        queries: unit vectors (rows, dim).
        items: unit vectors (items, dim).
        scale: of their products.
        rows: targets and offsets.
        dtype: of products and probabilities.
    """

    def __init__(
        self,
        queries: Tensor,
        items: Tensor,
        scale: Tensor,
        *,
        rows: SoftmaxRows,
        dtype: torch.dtype,
    ) -> None:
        num_rows, num_items, device = len(queries), len(items), queries.device
        self.rows = rows
        self.dtype = queries.dtype
        self.is_bounded = _is_bounded(scale, rows.offsets, dtype)
        unit = LOG2_E if self.is_bounded else 1.0
        own = (queries * items[rows.targets]).sum(1).sub_(1.0).mul_(scale * unit)
        offsets = (rows.offsets.to(queries.dtype) - scale) * unit
        self.own = own.to(dtype)
        self.left, self.right = _with_offsets(queries * (scale * unit), items, offsets, dtype)
        self.items = self.right[:, : items.shape[1]]
        self.size = rows.chunk or max(1, CHUNK_LOGITS[device.type] // max(1, num_items))
        lines = torch.arange(num_rows, device=device) % self.size
        self.places = lines * num_items + rows.targets
        self.buffer = self.left.new_empty(min(self.size, num_rows), num_items)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield all rows."""
        for begin in range(0, len(self.own), self.size):
            part = slice(begin, begin + self.size)
            yield self._chunk(part, self._logits(part))

    def _logits(self, part: slice) -> Tensor:
        left = self.left[part]
        logits = torch.mm(left, self.right.T, out=self.buffer[: len(left)])
        if self.rows.barred is not None:
            self.rows.barred.hide(logits, self.rows.targets[part, None], part)
        logits.view(-1)[self.places[part]] = self.own[part]
        return logits

    def _chunk(self, part: slice, logits: Tensor) -> Chunk:
        if not self.is_bounded:
            shares = torch.softmax(logits, 1)
            factors = torch.ones((len(shares), 1), dtype=self.dtype, device=shares.device)
            return Chunk(part, shares, factors, self._own(shares, part))
        shares = logits.exp2_()
        factors = shares.sum(1, keepdim=True).to(self.dtype).reciprocal_()
        return Chunk(part, shares, factors, self._own(shares, part) * factors.squeeze(1))

    def _own(self, shares: Tensor, part: slice) -> Tensor:
        return shares.view(-1)[self.places[part]]


def _is_bounded(scale: Tensor, offsets: Tensor, dtype: torch.dtype) -> bool:
    """Tell whether no power overflows and no target's vanishes; a GPU is not waited for."""
    if scale.device.type != "cpu" or not len(offsets):
        return False
    limit = -math.log(torch.finfo(dtype).tiny) / 2
    return bool(scale <= limit) and bool(offsets.max() <= limit)


def _with_offsets(
    queries: Tensor, items: Tensor, offsets: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Widen both so that their product holds the offsets, in two parts of `dtype`: no pass more."""
    num_columns = BIAS_COLUMNS[queries.device.type]
    left, right = (nn.functional.pad(x.to(dtype), (0, num_columns)) for x in (queries, items))
    left[:, queries.shape[1] :] = 1.0
    high = offsets.to(dtype)
    right[:, items.shape[1]] = high
    right[:, items.shape[1] + 1] = torch.where(high.isfinite(), offsets - high, 0.0)
    return left, right
