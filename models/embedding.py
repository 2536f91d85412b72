"""Embedding tables, and the embedding of one owner's features by the schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import torch
from torch import Tensor, nn

from features.config import Owner
from features.schema import Schema
from models.tables.asked import Asked, AtHand
from models.tables.placement import Placement

INITIAL_STD = 0.05
SEEDED_ROWS = 4_096
"""Rows that are drawn from one seed, so that any part of a table has the values of the whole."""

_is_deferred = ContextVar("is_deferred", default=False)


class EmbeddingTable(nn.Module):
    """Vectors by row: `weight` (num_rows, dim).

    By itself a table is a parameter like any other. A training may place it: the rows then live,
    and learn, where `placement` has them, and `weight` asks for no gradient.
    """

    placement: Placement | None

    def __init__(self, num_rows: int, dim: int) -> None:
        super().__init__()
        self.num_rows = num_rows
        self.dim = dim
        self.placement = None
        self._seed = int(torch.randint(2**62, (), device="cpu"))
        is_deferred = _is_deferred.get()
        weight = torch.empty(num_rows, dim, device="meta") if is_deferred else self.initial_rows()
        self.weight = nn.Parameter(weight)

    def rows(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids (...): (..., dim)."""
        if self.placement is None:
            return nn.functional.embedding(ids, self.weight)
        return self.placement.ask_rows(ids).take()

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the last axis of ids (..., n) where mask: (..., dim), 0 of none."""
        if self.placement is not None:
            return self.placement.ask_pooled(ids, mask).take()
        weights = mask.to(self.weight.dtype)
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1.0)
        return (self.rows(ids) * weights.unsqueeze(-1)).sum(-2)

    def ask_rows(self, ids: Tensor) -> Asked:
        """Ask for `rows`, which wait until one of all that were asked for is taken."""
        if self.placement is None:
            return AtHand(partial(self.rows, ids))
        return self.placement.ask_rows(ids)

    def ask_pooled(self, ids: Tensor, mask: Tensor) -> Asked:
        """Ask for `pooled` in the same way."""
        if self.placement is None:
            return AtHand(partial(self.pooled, ids, mask))
        return self.placement.ask_pooled(ids, mask)

    def initial_rows(self, begin: int = 0, end: int | None = None) -> Tensor:
        """Draw the initial values of rows `begin:end`; they do not depend on the cut."""
        end = self.num_rows if end is None else end
        rows = torch.empty(end - begin, self.dim)
        for first in range(begin - begin % SEEDED_ROWS, end, SEEDED_ROWS):
            generator = torch.Generator().manual_seed(self._seed + first)
            size = min(SEEDED_ROWS, self.num_rows - first)
            block = torch.randn(size, self.dim, generator=generator).mul_(INITIAL_STD)
            low, high = max(first, begin), min(first + size, end)
            rows[low - begin : high - begin] = block[low - first : high - first]
        return rows


@contextmanager
def deferred_tables() -> Iterator[None]:
    """Let tables that are made in the block hold no memory until a training places them."""
    token = _is_deferred.set(True)
    try:
        yield
    finally:
        _is_deferred.reset(token)


class FeatureEmbedding(nn.Module):
    """Turns one owner's encoded features into one vector; all its columns share one table.

    Args:
        schema: names the features and their numbers of rows.
        owner: "user", "item" or "context".
        dim: of each categorical and multi-valued feature.
        value_dropout: share of values that training replaces by row 0 (unknown), so that
            the unknown row learns what to say of new values and frequent ones are not memorised.
    """

    first_code: Tensor
    first_multi: Tensor

    def __init__(
        self, schema: Schema, owner: Owner, dim: int, *, value_dropout: float = 0.0
    ) -> None:
        super().__init__()
        codes, multi = schema.select(owner, "categorical"), schema.select(owner, "multi")
        sizes = [feature.rows for feature in (*codes, *multi)]
        starts = torch.tensor([0, *sizes], dtype=torch.int64).cumsum(0)
        self.value_dropout = value_dropout
        self.width = len(sizes) * dim + len(schema.select(owner, "numeric"))
        """Size of the vector."""
        self.register_buffer("first_code", starts[: len(codes)].clone(), persistent=False)
        first_multi = starts[len(codes) : len(sizes), None].clone()
        self.register_buffer("first_multi", first_multi, persistent=False)
        self.table = EmbeddingTable(int(starts[-1]), dim) if sizes else None

    def forward(self, codes: Tensor, multi: Tensor | None, numbers: Tensor) -> Tensor:
        """Embed codes (..., c), multi (..., m, values) and numbers (..., k): (..., width)."""
        parts = [numbers]
        if self.table is not None and self.first_code.numel():
            vectors = self.table.rows(self._dropped(codes) + self.first_code)
            parts.append(vectors.flatten(-2))
        if self.table is not None and multi is not None and self.first_multi.numel():
            multi = self._dropped(multi)
            vectors = self.table.pooled(multi + self.first_multi, multi > 0)
            parts.append(vectors.flatten(-2))
        return torch.cat(parts, dim=-1)

    def _dropped(self, ids: Tensor) -> Tensor:
        if not self.training or not self.value_dropout:
            return ids
        return ids * (torch.rand(ids.shape, device=ids.device) >= self.value_dropout)
