"""Matches count, feature by feature, the events that share a candidate's value."""

import math

import pytest
import torch
from torch import Tensor

from models.matches import HistoryMatches
from tests.toy_ranking import toy_schema

Values = tuple[Tensor, Tensor]

HISTORY: Values = (
    torch.tensor([[[1, 5], [1, 6], [0, 5], [1, 5]]]),
    torch.tensor([[[[2, 3]], [[4, 0]], [[0, 0]], [[2, 0]]]]),
)
"""Four events of one history: two codes, and one feature of up to two values."""
MASK = torch.tensor([[0.0, 0.0, 0.0, -math.inf]])
CANDIDATES: Values = (
    torch.tensor([[[1, 5], [0, 7]]]),
    torch.tensor([[[[3, 2]], [[0, 0]]]]),
)
COUNTS = torch.tensor([[2.0, 2.0, 1.0], [0.0, 0.0, 0.0]])
"""The unknown value matches nothing, padding nobody; of two values the mean counts."""


@pytest.fixture
def matches() -> HistoryMatches:
    return HistoryMatches(toy_schema(), is_used=True)


def test_events_of_a_history_are_counted_for_each_candidate(matches: HistoryMatches) -> None:
    found = matches.by_candidate(matches.sorted(HISTORY, MASK), MASK, CANDIDATES)
    expected = torch.cat([torch.log1p(COUNTS), COUNTS / 3], dim=-1)
    torch.testing.assert_close(found[0], expected)


def test_pairs_are_counted_as_candidates_of_a_request_are(matches: HistoryMatches) -> None:
    events = [part[0, :3].repeat(2, *[1] * (part.dim() - 2)) for part in HISTORY]
    owners = torch.tensor([0, 0, 0, 1, 1, 1])
    found = matches.pairs(events, owners, [part[0] for part in CANDIDATES])
    of_request = matches.by_candidate(matches.sorted(HISTORY, MASK), MASK, CANDIDATES)
    torch.testing.assert_close(found, of_request[0])


def test_an_empty_history_matches_nothing(matches: HistoryMatches) -> None:
    empty = torch.full_like(MASK, -math.inf)
    assert not matches.by_candidate(matches.sorted(HISTORY, empty), empty, CANDIDATES).any()
    nobody = torch.zeros(0, dtype=torch.int64)
    events = [part[0, :0] for part in HISTORY]
    assert not matches.pairs(events, nobody, [part[0] for part in CANDIDATES]).any()


def test_unused_they_take_no_room() -> None:
    unused = HistoryMatches(toy_schema(), is_used=False)
    known = unused.sorted(HISTORY, MASK)
    assert unused.by_candidate(known, MASK, CANDIDATES).shape == (1, 2, 0)
    events, owners = [part[0] for part in HISTORY], torch.zeros(4, dtype=torch.int64)
    assert unused.pairs(events, owners, [part[0] for part in CANDIDATES]).shape == (2, 0)
