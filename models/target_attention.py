"""Attention of candidates over the user's history, its first layer split in two."""

import math

import torch
from torch import Tensor, nn

from features.assembly import GAP_ROWS
from models.embedding import INITIAL_STD


class TargetAttention(nn.Module):
    """Pools the history by its relevance to each candidate (Zhou et al., DIN, 2018).

    The score of a pair is an additive first layer, `relu(W_k key + W_q query)`, and a dot product
    of projections. Both are linear before they meet, so the history's half is computed once per
    request. A slot that scores 0 and holds nothing takes the weight when nothing is relevant.

    Args:
        width: of the embedded items.
        dim: of keys, queries and values.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.history = nn.Linear(width, 3 * dim)
        self.gap = nn.Embedding(GAP_ROWS, 3 * dim)
        self.step = nn.Embedding(GAP_ROWS, 3 * dim)
        self.candidate = nn.Linear(width, 2 * dim, bias=False)
        self.score = nn.Linear(dim, 1, bias=False)
        nn.init.normal_(self.gap.weight, std=INITIAL_STD)
        nn.init.normal_(self.step.weight, std=INITIAL_STD)

    def project(self, events: Tensor, gaps: Tensor, steps: Tensor) -> Tensor:
        """Return keys and values (..., 3 * dim) of events (..., width) with gap and step codes."""
        projected: Tensor = self.history(events) + self.gap(gaps) + self.step(steps)
        return projected

    def item_side(self, projected: Tensor, mask: Tensor, candidates: Tensor) -> Tensor:
        """Pool for candidates (batch, n, width): (batch, n, dim).

        Args:
            projected: what `project` returned of histories, (batch, length, 3 * dim).
            mask: 0 for events and -inf for padding, (batch, length).
            candidates: embedded.
        """
        added_key, key, value = projected.chunk(3, dim=-1)
        added_query, query = self.candidate(candidates).chunk(2, dim=-1)
        hidden = torch.relu(added_query.unsqueeze(2) + added_key.unsqueeze(1))
        scores = query @ key.transpose(1, 2) / math.sqrt(self.dim)  # (batch, n, length)
        scores = scores + self.score(hidden).squeeze(-1) + mask.unsqueeze(1)
        nothing = torch.zeros_like(scores[..., :1])
        weights = torch.softmax(torch.cat([scores, nothing], dim=-1), dim=-1)
        pooled: Tensor = weights[..., :-1] @ value
        return pooled

    def pairs(self, events: Tensor, owners: Tensor, candidates: Tensor) -> Tensor:
        """Pool for one candidate per history (batch, width): (batch, dim).

        Equals `item_side` of single candidates, at the cost of the events that there are: most
        histories of a batch are far shorter than its longest.

        Args:
            events: what `project` returned, (events, 3 * dim).
            owners: the row of each event's history, (events,).
            candidates: embedded.
        """
        added_key, key, value = events.chunk(3, dim=-1)
        added_query, query = self.candidate(candidates)[owners].chunk(2, dim=-1)
        hidden = torch.relu(added_query + added_key)
        scores = (query * key).sum(-1) / math.sqrt(self.dim) + self.score(hidden).squeeze(-1)
        nothing = scores.new_zeros(len(candidates))
        highest = nothing.scatter_reduce(0, owners, scores.detach(), "amax")  # at least nothing's
        weights = torch.exp(scores - highest[owners])
        total = torch.exp(-highest).index_add(0, owners, weights)
        weighted = (weights / total[owners]).unsqueeze(-1) * value
        return weighted.new_zeros(len(candidates), self.dim).index_add(0, owners, weighted)

    def means(self, events: Tensor, owners: Tensor, num_histories: int) -> Tensor:
        """Return what `mean` does (num_histories, dim), of events as `pairs` takes them."""
        values = events[..., -self.dim :]
        totals = values.new_zeros(num_histories, self.dim).index_add(0, owners, values)
        sizes = torch.bincount(owners, minlength=num_histories).clamp(min=1)
        return totals / sizes.unsqueeze(-1)

    def mean(self, projected: Tensor, mask: Tensor) -> Tensor:
        """Return the mean value of each history (batch, dim), 0 of an empty one."""
        is_event = (mask == 0).to(projected.dtype)
        share = is_event / is_event.sum(-1, keepdim=True).clamp(min=1.0)
        return (share.unsqueeze(1) @ projected[..., -self.dim :]).squeeze(1)
