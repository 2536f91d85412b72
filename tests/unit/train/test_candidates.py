"""The candidates of a softmax: all items, or a sample that estimates the same sum."""

import numpy as np
import pytest
import torch

from models.losses import softmax_loss
from models.softmax_rows import SoftmaxRows
from train.candidates import AllItems, SampledItems

ITEMS = 60
ROWS = np.arange(2, ITEMS + 2)


@pytest.fixture
def popularity() -> np.ndarray:
    return np.random.default_rng(1).integers(1, 50, ITEMS).astype(np.float64)


def sampled(popularity: np.ndarray, num_negatives: int, correction: float = 1.0) -> SampledItems:
    return SampledItems(ROWS, popularity, num_negatives=num_negatives, correction=correction)


def test_a_sample_is_distinct_and_holds_the_targets(popularity: np.ndarray) -> None:
    targets = np.asarray([5, 5, 9, 41])
    rows, offsets = sampled(popularity, 10).draw(targets, np.random.default_rng(0))
    assert len(np.unique(rows)) == len(rows) == len(offsets)
    assert set(targets) <= set(rows) <= set(ROWS)
    assert 10 <= len(rows) <= 13


def test_all_items_as_negatives_are_the_full_softmax(popularity: np.ndarray) -> None:
    generator = torch.Generator().manual_seed(1)
    targets = np.random.default_rng(3).choice(ROWS, 16)
    users, items = (
        torch.nn.functional.normalize(torch.randn(n, 8, generator=generator), dim=-1)
        for n in (len(targets), ITEMS)
    )
    losses = []
    for candidates in (AllItems(ROWS), sampled(popularity, ITEMS)):
        rows, offsets = candidates.draw(targets, np.random.default_rng(0))
        asked = SoftmaxRows(
            targets=torch.from_numpy(np.searchsorted(rows, targets)),
            weights=torch.ones(len(targets)),
            offsets=torch.from_numpy(offsets),
        )
        loss = softmax_loss(users, items[rows - ROWS[0]], scale=torch.tensor(20.0), rows=asked)
        losses.append(loss)
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("correction", "is_unbiased"), [(1.0, True), (0.0, False)])
def test_the_correction_makes_the_sampled_sum_unbiased(
    popularity: np.ndarray, correction: float, is_unbiased: bool
) -> None:
    """Draw targets by popularity many times; the corrected sum of a fixed score has its mean."""
    random = np.random.default_rng(2)
    scores = np.exp(random.normal(size=ITEMS + 2)) * (1 + np.r_[0, 0, popularity])
    candidates = sampled(popularity, 8, correction)
    shares = popularity / (popularity.sum() + 1.0)
    shares[0] += 1.0 - shares.sum()
    sums = []
    for _ in range(4000):
        targets = random.choice(ROWS, 12, p=shares)
        rows, offsets = candidates.draw(targets, random)
        sums.append((scores[rows] * np.exp(offsets)).sum())
    error = np.std(sums) / np.sqrt(len(sums))
    is_near = abs(np.mean(sums) - scores[ROWS].sum()) < 4 * error
    assert is_near == is_unbiased


def test_popular_items_get_the_smaller_offset(popularity: np.ndarray) -> None:
    rows, offsets = sampled(popularity, ITEMS - 1).draw(ROWS[:3], np.random.default_rng(0))
    order = np.argsort(popularity[rows - ROWS[0]])
    assert (np.diff(offsets[order]) <= 1e-6).all()
    assert (offsets >= 0).all()
