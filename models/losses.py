"""The softmax over items, in row chunks, with its gradients computed on the way."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

CHUNK_ROWS = 256


@dataclass(frozen=True)
class SoftmaxRows:
    """What each row of a softmax is asked.

    Shapes: `targets` (rows,) int64 item columns; `weights` (rows,) float32; `offsets` (items,)
    float32, added to an item's logit where it is not the row's target.
    """

    targets: Tensor
    weights: Tensor
    offsets: Tensor
    chunk: int = CHUNK_ROWS


def softmax_loss(queries: Tensor, items: Tensor, *, scale: Tensor, rows: SoftmaxRows) -> Tensor:
    """Return the weighted sum of the rows' cross entropies.

    The logit of item j in row k is `scale * queries[k] @ items[j] + offsets[j]`, without the
    offset for the row's own target. With offsets of minus the log inclusion probability of a
    sampled item this estimates the softmax over all items without bias in its partition sum.
    Products run in bfloat16 under autocast, sums in the inputs' own precision.

    Args:
        queries: unit vectors (rows, dim).
        items: unit vectors (items, dim).
        scale: one over the temperature, at most 40: logits then need no maximum pass.
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
        dtype, exact = _product_dtype(queries), queries.dtype
        factor, columns = scale.to(dtype), items.to(dtype)
        query_gradient, item_gradient = torch.empty_like(queries), torch.zeros_like(items)
        loss = queries.new_zeros(())
        for begin in range(0, len(queries), rows.chunk):
            part = slice(begin, begin + rows.chunk)
            chunk = queries[part].to(dtype)
            logits = ((chunk * factor) @ columns.T).to(exact).add_(rows.offsets.to(exact) - scale)
            chunk_loss, error = _loss_and_error(logits, rows, part)
            loss += chunk_loss
            error = error.to(dtype)
            query_gradient[part] = (error @ columns).to(exact) * scale
            item_gradient += (error.T @ chunk).to(exact) * scale
        ctx.save_for_backward(queries, scale, query_gradient, item_gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, scale, query_gradient, item_gradient = ctx.saved_tensors
        (gradient,) = gradients
        scale_gradient = (query_gradient * queries).sum() / scale
        return query_gradient * gradient, item_gradient * gradient, scale_gradient * gradient, None


def _loss_and_error(logits: Tensor, rows: SoftmaxRows, part: slice) -> tuple[Tensor, Tensor]:
    """Turn a chunk's logits into its loss and, in place, the loss' gradient by the logits."""
    target, weights = rows.targets[part, None], rows.weights[part, None].to(logits.dtype)
    own = logits.gather(1, target) - rows.offsets[target]
    exponentials = logits.scatter_(1, target, own).exp_()
    total = exponentials.sum(1, keepdim=True)
    loss = (weights * (total.log() - own)).sum()
    error = exponentials.mul_(weights / total)
    return loss, error.scatter_add_(1, target, -weights)


def _product_dtype(queries: Tensor) -> torch.dtype:
    kind = queries.device.type
    is_on = torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if is_on else queries.dtype
