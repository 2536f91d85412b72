"""What of a candidate the user's history holds already, counted value by value."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from features.schema import Schema

PER_FEATURE = 2
"""The number of matching events, on a logarithmic scale, and their share of the history."""

FEATURE_KEYS = 2**40
"""More than a feature has values."""

Values = Sequence[Tensor]
"""Codes (..., categorical) and multi (..., multi-valued, values), the assembler's."""


class HistoryMatches(nn.Module):
    """Counts the events whose item has a candidate's value of each feature.

    Explicit matches (lookup features, as in Alibaba's EasyRec) say "of the same author" from the
    first event on, for values of which a log is too small to learn vectors; attention has to
    learn it by way of the embeddings. Of several values of a candidate the mean count is taken.
    Row 0, unknown, matches nothing.

    Args:
        schema: names the items' features.
        is_used: without, there are no matches, of width 0.
    """

    def __init__(self, schema: Schema, *, is_used: bool) -> None:
        super().__init__()
        count = len(schema.select("item", "categorical")) + len(schema.select("item", "multi"))
        self.width = PER_FEATURE * count if is_used else 0

    def sorted(self, events: Values, mask: Tensor) -> tuple[Tensor, ...]:
        """Return the values of histories (batch, length, ...) as `by_candidate` finds them.

        Args:
            events: their values.
            mask: 0 for events and -inf for padding, (batch, length).
        """
        if not self.width:
            return ()
        is_event = (mask == 0).unsqueeze(-1)
        return ((_keys(*events) * is_event).flatten(1).sort().values,)

    def by_candidate(self, known: Values, mask: Tensor, candidates: Values) -> Tensor:
        """Return matches (batch, n, width) of histories.

        Args:
            known: what `sorted` returned.
            mask: as there.
            candidates: values (batch, n, ...).
        """
        codes, multi = candidates
        if not self.width:
            return mask.new_zeros(*codes.shape[:-1], 0)
        keys = _keys(codes, multi)
        counts = _counts(known[0], keys.flatten(1)).view(keys.shape)
        counts = counts * (_flat(codes, multi) > 0)
        single = counts[..., : codes.shape[-1]]
        means = _mean(counts[..., codes.shape[-1] :].view(multi.shape), multi)
        lengths = (mask == 0).sum(-1)[:, None, None]
        return _scaled(torch.cat([single, means], dim=-1), lengths)

    def pairs(self, events: Values, owners: Tensor, candidates: Values) -> Tensor:
        """Return matches (batch, width) of one candidate per history.

        Args:
            events: values (events, ...).
            owners: the row of each event's history, (events,).
            candidates: values (batch, ...).
        """
        codes, multi = candidates
        size = len(codes)
        if not self.width:
            return torch.zeros(size, 0, device=owners.device)
        theirs, their_multi = codes[owners], multi[owners]
        same = (events[0] == theirs) & (theirs > 0)
        common = events[1].unsqueeze(-1) == their_multi.unsqueeze(-2)
        means = _mean(common.sum(-2) * (their_multi > 0), their_multi)
        found = torch.cat([same.float(), means], dim=-1)
        counts = found.new_zeros(size, found.shape[-1]).index_add(0, owners, found)
        return _scaled(counts, torch.bincount(owners, minlength=size).unsqueeze(-1))


def _flat(codes: Tensor, multi: Tensor) -> Tensor:
    """Return all values (..., categorical + multi-valued * values)."""
    return torch.cat([codes, multi.flatten(-2)], dim=-1)


def _keys(codes: Tensor, multi: Tensor) -> Tensor:
    """Return all values as numbers that differ from one feature to the next."""
    single, (several, values) = codes.shape[-1], multi.shape[-2:]
    features = torch.arange(single + several, device=codes.device)
    features = torch.cat([features[:single], features[single:].repeat_interleave(values)])
    return _flat(codes, multi) + features * FEATURE_KEYS


def _counts(known: Tensor, asked: Tensor) -> Tensor:
    """Count each of the keys asked for (batch, n) among those known (batch, m), sorted."""
    last = torch.searchsorted(known, asked, right=True)
    return last - torch.searchsorted(known, asked)


def _mean(counts: Tensor, values: Tensor) -> Tensor:
    """Return the mean of counts (..., values) over the values that there are."""
    return counts.sum(-1) / (values > 0).sum(-1).clamp(min=1)


def _scaled(counts: Tensor, lengths: Tensor) -> Tensor:
    return torch.cat([torch.log1p(counts), counts / lengths.clamp(min=1)], dim=-1)
