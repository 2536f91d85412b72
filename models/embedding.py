"""Embedding tables, and the embedding of one owner's features by the schema."""

import torch
from torch import Tensor, nn

from features.config import Owner
from features.schema import Schema

INITIAL_STD = 0.05


class EmbeddingTable(nn.Module):
    """Vectors by row: `weight` (num_rows, dim)."""

    def __init__(self, num_rows: int, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_rows, dim) * INITIAL_STD)

    def rows(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids (...): (..., dim)."""
        return nn.functional.embedding(ids, self.weight)

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the last axis of ids (..., n) where mask: (..., dim), 0 of none."""
        weights = mask.to(self.weight.dtype)
        weights = weights / weights.sum(-1, keepdim=True).clamp(min=1.0)
        return (self.rows(ids) * weights.unsqueeze(-1)).sum(-2)


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
