"""The softmax over items, in row chunks, with its gradients computed on the way."""

from typing import Any

import torch
from torch import Tensor

from models.softmax_chunks import SoftmaxChunks
from models.softmax_rows import SoftmaxRows


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
    weights = (rows.weights.to(queries.dtype) * scale)[:, None]
    pulls = queries * weights
    chunks = SoftmaxChunks(queries, items, scale, rows=rows, dtype=dtype)
    own = queries.new_empty(len(queries))
    query_gradient, item_gradient = torch.empty_like(queries), items.new_zeros(items.shape[::-1])
    for chunk in chunks:
        own[chunk.part] = chunk.own
        query_gradient[chunk.part] = (chunk.shares @ chunks.items) * chunk.factors
        item_gradient += (pulls[chunk.part] * chunk.factors).to(dtype).T @ chunk.shares
    # A share below the smallest number counts as that: the loss stays finite.
    smallest = torch.finfo(own.dtype).tiny
    loss = -(rows.weights.to(own.dtype) * own.clamp_(min=smallest).log_()).sum()
    query_gradient.sub_(items[rows.targets]).mul_(weights)
    item_gradient = item_gradient.T.contiguous().index_add_(0, rows.targets, pulls, alpha=-1)
    return loss, query_gradient, item_gradient


def _product_dtype(queries: Tensor) -> torch.dtype:
    kind = queries.device.type
    is_on = torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if is_on else queries.dtype
