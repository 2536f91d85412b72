"""The softmax over items, in row chunks, with its gradients computed on the way."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CHUNK_LOGITS = {"cpu": 2**21, "cuda": 2**26}
"""Logits that are held at once: on a CPU about what its caches hold."""
BIAS_COLUMNS = {"cpu": 2, "cuda": 8}
"""Columns by which products carry the offsets: two are used; tensor cores want multiples of 8."""


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


def softmax_loss(queries: Tensor, items: Tensor, *, scale: Tensor, rows: SoftmaxRows) -> Tensor:
    """Return the weighted sum of the rows' cross entropies.

    The logit of item j in row k is `scale * queries[k] @ items[j] + offsets[j]`, without the
    offset for the row's own target. With offsets of minus the log inclusion probability of a
    sampled item this estimates the softmax over all items without bias in its partition sum.
    Under autocast products and probabilities are in bfloat16, sums in the inputs' own precision.

    Args:
        queries: unit vectors (rows, dim).
        items: unit vectors (items, dim).
        scale: one over the temperature.
        rows: targets, weights and offsets.
    """
    loss: Tensor = _ChunkedSoftmax.apply(queries, items, scale, rows)  # type: ignore[no-untyped-call]
    return loss


class _ChunkedSoftmax(torch.autograd.Function):
    """Each chunk computes its logits once and adds both gradients: no rows x items matrix."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, items: Tensor, scale: Tensor, rows: SoftmaxRows
    ) -> Tensor:
        dtype = _product_dtype(queries)
        with torch.autocast(queries.device.type, enabled=False):
            loss, query_gradient, item_gradient = _gradients(queries, items, scale, rows, dtype)
        ctx.save_for_backward(queries, scale, query_gradient, item_gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, scale, query_gradient, item_gradient = ctx.saved_tensors
        (gradient,) = gradients
        scale_gradient = (query_gradient * queries).sum() / scale
        return query_gradient * gradient, item_gradient * gradient, scale_gradient * gradient, None


def _gradients(
    queries: Tensor, items: Tensor, scale: Tensor, rows: SoftmaxRows, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss and its gradients by queries and items.

    The softmax pulls every row towards the mean of the items by probability, the target pushes
    it away: the second half is exact and needs no matrix.
    """
    num_items = len(items)
    weights = (rows.weights.to(queries.dtype) * scale)[:, None]
    pulls, own_items = queries * weights, items[rows.targets]
    own = ((queries * own_items).sum(1) - 1.0) * scale
    offsets = rows.offsets.to(queries.dtype) - scale
    left, right = _with_offsets(queries * scale, items, offsets, dtype)
    columns, low_own, low_pulls = right[:, : items.shape[1]], own.to(dtype), pulls.to(dtype)
    size = rows.chunk or max(1, CHUNK_LOGITS[queries.device.type] // max(1, num_items))
    places = torch.arange(len(queries), device=queries.device) % size * num_items + rows.targets
    shares_of_own = torch.empty_like(own)
    query_gradient, item_gradient = torch.empty_like(queries), items.new_zeros(items.shape[::-1])
    for begin in range(0, len(queries), size):
        part = slice(begin, begin + size)
        logits = left[part] @ right.T
        if rows.barred is not None:
            rows.barred.hide(logits, rows.targets[part, None], part)
        logits.view(-1)[places[part]] = low_own[part]
        shares = torch.softmax(logits, 1)
        shares_of_own[part] = shares.view(-1)[places[part]]
        query_gradient[part] = shares @ columns
        item_gradient += low_pulls[part].T @ shares
    # A share below the smallest number counts as that: the loss stays finite.
    smallest = torch.finfo(own.dtype).tiny
    loss = -(rows.weights.to(own.dtype) * shares_of_own.clamp_(min=smallest).log_()).sum()
    query_gradient.sub_(own_items).mul_(weights)
    item_gradient = item_gradient.T.contiguous().index_add_(0, rows.targets, pulls, alpha=-1)
    return loss, query_gradient, item_gradient


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


def _product_dtype(queries: Tensor) -> torch.dtype:
    kind = queries.device.type
    is_on = torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if is_on else queries.dtype
