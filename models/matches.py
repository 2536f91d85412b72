"""What of a candidate the user's history holds already, counted value by value."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from features.schema import Schema

PER_FEATURE = 2
"""The number of matching events, on a logarithmic scale, and their share of the history."""


class HistoryMatches(nn.Module):
    """Counts the events whose item shares a candidate's value of each feature.

    Explicit matches (lookup features, as in Alibaba's EasyRec) say "of the same author" from the
    first event on, for values of which a log is too small to learn vectors; attention has to
    learn it by way of the embeddings. Row 0, unknown, matches nothing.
    Values are codes (..., categorical) and multi (..., multi-valued, values), the assembler's.

    Args:
        schema: names the items' features.
        is_used: without, there are no matches, of width 0.
    """

    def __init__(self, schema: Schema, *, is_used: bool) -> None:
        super().__init__()
        count = len(schema.select("item", "categorical")) + len(schema.select("item", "multi"))
        self.width = PER_FEATURE * count if is_used else 0

    def by_candidate(
        self, events: Sequence[Tensor], mask: Tensor, candidates: Sequence[Tensor]
    ) -> Tensor:
        """Return matches (batch, n, width) of histories (batch, length, ...).

        Args:
            events: codes and multi of histories.
            mask: 0 for events and -inf for padding, (batch, length).
            candidates: codes and multi (batch, n, ...).
        """
        if not self.width:
            return mask.new_zeros(*candidates[0].shape[:-1], 0)
        is_event = mask == 0
        found = _found([part.unsqueeze(1) for part in events], [c.unsqueeze(2) for c in candidates])
        counts = (found & is_event[:, None, :, None]).sum(2).to(mask.dtype)
        return _scaled(counts, is_event.sum(-1).to(mask.dtype)[:, None, None])

    def pairs(
        self, events: Sequence[Tensor], owners: Tensor, candidates: Sequence[Tensor]
    ) -> Tensor:
        """Return matches (batch, width) of one candidate per history.

        Args:
            events: codes and multi (events, ...).
            owners: the row of each event's history, (events,).
            candidates: codes and multi (batch, ...).
        """
        size = len(candidates[0])
        if not self.width:
            return torch.zeros(size, 0, device=owners.device)
        found = _found(events, [part[owners] for part in candidates]).float()
        counts = found.new_zeros(size, found.shape[-1]).index_add(0, owners, found)
        return _scaled(counts, torch.bincount(owners, minlength=size).float().unsqueeze(-1))


def _found(events: Sequence[Tensor], candidates: Sequence[Tensor]) -> Tensor:
    """Return which features (..., features) of events and candidates have a value in common."""
    (codes, multi), (candidate, candidate_multi) = events, candidates
    same = (codes == candidate) & (candidate > 0)
    common = multi.unsqueeze(-1) == candidate_multi.unsqueeze(-2)
    common = common & (candidate_multi > 0).unsqueeze(-2)
    return torch.cat([same, common.flatten(-2).any(-1)], dim=-1)


def _scaled(counts: Tensor, lengths: Tensor) -> Tensor:
    return torch.cat([torch.log1p(counts), counts / lengths.clamp(min=1.0)], dim=-1)
