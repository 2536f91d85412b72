"""Target attention equals its formula computed pair by pair."""

import math

import torch

from models.target_attention import TargetAttention


def test_the_split_attention_equals_attention_of_one_pair_at_a_time() -> None:
    torch.manual_seed(0)
    attention = TargetAttention(4, 3)
    history, candidates = torch.randn(1, 5, 4), torch.randn(1, 2, 4)
    gaps, steps = torch.tensor([[3, 2, 1, 0, 0]]), torch.tensor([[1, 1, 4, 0, 0]])
    projected, mask = attention.project(history, gaps, steps), masked(gaps)
    pooled = attention.item_side(projected, mask, candidates)
    for n in range(2):
        expected = one_pair(attention, history[0, :3], gaps[0, :3], steps[0, :3], candidates[0, n])
        torch.testing.assert_close(pooled[0, n], expected)


def masked(gaps: torch.Tensor) -> torch.Tensor:
    return torch.where(gaps > 0, 0.0, -math.inf)


def one_pair(
    attention: TargetAttention,
    history: torch.Tensor,
    gaps: torch.Tensor,
    steps: torch.Tensor,
    candidate: torch.Tensor,
) -> torch.Tensor:
    """Score events one by one: an additive layer over both vectors, plus a dot product."""
    exponentials, values = [torch.tensor(1.0)], [torch.zeros(3)]
    for event, gap, step in zip(history, gaps, steps, strict=True):
        projected = attention.history(event) + attention.gap(gap) + attention.step(step)
        queries = attention.candidate(candidate)
        hidden = torch.relu(projected[:3] + queries[:3])
        score = attention.score(hidden)[0] + projected[3:6] @ queries[3:] / math.sqrt(3)
        exponentials.append(score.exp())
        values.append(projected[6:])
    weights = torch.stack(exponentials) / torch.stack(exponentials).sum()
    return weights @ torch.stack(values)


def test_an_empty_history_pools_to_zero() -> None:
    attention = TargetAttention(4, 3)
    none = torch.zeros(1, 5, dtype=torch.int64)
    projected, mask = attention.project(torch.randn(1, 5, 4), none, none), masked(none)
    assert not attention.item_side(projected, mask, torch.randn(1, 2, 4)).any()
    assert not attention.mean(projected, mask).any()


def test_the_mean_counts_events_only() -> None:
    attention = TargetAttention(4, 3)
    codes = torch.tensor([[2, 1, 0]])
    projected, mask = attention.project(torch.randn(1, 3, 4), codes, codes), masked(codes)
    torch.testing.assert_close(attention.mean(projected, mask), projected[:, :2, 6:].mean(1))
