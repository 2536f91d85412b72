"""Shares that every worker computes, joined so that all of them can use the whole."""

from typing import Any

import torch
from torch import Tensor

from models.tables.workers import Workers


def gathered(share: Tensor, workers: Workers) -> Tensor:
    """Return all workers' shares (rows, dim), one after the other: (workers * rows, dim).

    Backward hands each worker the sum of all workers' gradients of its share.
    """
    whole: Tensor = _Gathered.apply(share, workers)  # type: ignore[no-untyped-call]
    return whole


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, share: Tensor, workers: Workers) -> Tensor:
        ctx.workers = workers
        return workers.all(share).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        workers, (gradient,) = ctx.workers, gradients
        rows = [len(gradient) // workers.num_workers] * workers.num_workers
        parts = workers.exchanged(gradient, rows, rows)
        return parts.view(len(rows), -1, *gradient.shape[1:]).sum(0), None
