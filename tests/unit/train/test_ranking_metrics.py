"""Ranking metrics equal brute force on anything."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.ranking_metrics import auc, binary_metrics, ece, gauc, log_loss, watch_time_metrics, xauc

SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
ROWS = st.lists(st.tuples(SCORES, st.integers(0, 1), st.integers(0, 4)), max_size=40)
TIMES = st.lists(st.tuples(SCORES, st.sampled_from([0.0, 1.0, 2.5, 60.0])), max_size=40)


def columns(rows: list[tuple[float, ...]], count: int) -> list[np.ndarray]:
    return [np.asarray([row[k] for row in rows], np.float32) for k in range(count)]


def brute_force(scores: np.ndarray, values: np.ndarray) -> float:
    """Walk over all pairs with unequal values."""
    wins = pairs = 0.0
    for i in range(len(scores)):
        for j in range(len(scores)):
            if values[i] < values[j]:
                pairs += 1
                wins += (scores[i] < scores[j]) + 0.5 * (scores[i] == scores[j])
    return wins / pairs if pairs else math.nan


@given(ROWS)
def test_auc_is_the_share_of_pairs_in_right_order(rows: list[tuple[float, ...]]) -> None:
    scores, labels, _ = columns(rows, 3)
    assert auc(scores, labels) == pytest.approx(brute_force(scores, labels), nan_ok=True)


@given(TIMES)
def test_xauc_is_the_share_of_unequal_pairs_in_right_order(rows: list[tuple[float, ...]]) -> None:
    scores, values = columns(rows, 2)
    assert xauc(scores, values) == pytest.approx(brute_force(scores, values), nan_ok=True)


@given(ROWS)
def test_gauc_is_the_weighted_mean_over_users_with_both_classes(
    rows: list[tuple[float, ...]],
) -> None:
    scores, labels, users = columns(rows, 3)
    areas, weights = [], []
    for user in np.unique(users):
        own = users == user
        if 0 < labels[own].sum() < own.sum():
            areas.append(brute_force(scores[own], labels[own]))
            weights.append(own.sum())
    expected = np.average(areas, weights=weights) if areas else math.nan
    result = gauc(scores, labels, users.astype(np.int32))
    assert result == pytest.approx(expected, nan_ok=True)


@given(ROWS, st.randoms(use_true_random=False))
def test_no_metric_depends_on_the_order_of_rows(
    rows: list[tuple[float, ...]], random: object
) -> None:
    shuffled = sorted(rows, key=lambda _: random.random())  # type: ignore[attr-defined]
    first, second = (
        binary_metrics(*columns(some, 2), columns(some, 3)[2].astype(np.int32))
        for some in (rows, shuffled)
    )
    assert first == pytest.approx(second, nan_ok=True)


def test_xauc_of_many_rows_equals_a_matrix_of_pairs() -> None:
    random = np.random.default_rng(0)
    values = random.exponential(20, 700).round()
    scores = values + random.normal(0, 30, 700)
    is_pair = values[:, None] < values
    wins = (scores[:, None] < scores) & is_pair
    assert xauc(scores, values) == pytest.approx(wins.sum() / is_pair.sum())


def test_ece_is_zero_of_the_mean_and_the_bias_of_a_constant() -> None:
    labels = np.asarray([0, 1, 0, 0] * 25, np.float32)
    assert ece(np.full(100, 0.25, np.float32), labels) == pytest.approx(0.0)
    assert ece(np.full(100, 0.4, np.float32), labels) == pytest.approx(0.15)


def test_ece_sums_gaps_of_opposite_sign() -> None:
    predicted = np.repeat(np.asarray([0.2, 0.8], np.float32), 50)
    labels = np.repeat(np.asarray([0.0, 1.0], np.float32), 50)
    assert ece(predicted, labels) == pytest.approx(0.2)


def test_ece_bins_hold_equal_mass() -> None:
    random = np.random.default_rng(1)
    predicted = random.random(1500).astype(np.float32)
    labels = (random.random(1500) < predicted**2).astype(np.float32)
    order = np.argsort(predicted)
    gaps = [predicted[part].mean() - labels[part].mean() for part in np.split(order, 15)]
    assert ece(predicted, labels) == pytest.approx(np.abs(gaps).mean(), rel=1e-4)


def test_log_loss_of_certain_errors_is_finite() -> None:
    labels = np.asarray([0.0, 1.0], np.float32)
    assert log_loss(np.asarray([0.5, 0.5], np.float32), labels) == pytest.approx(math.log(2))
    assert 10 < log_loss(np.asarray([1.0, 0.0], np.float32), labels) < 20


def test_watch_time_metrics_are_seconds_and_order() -> None:
    figures = watch_time_metrics(np.asarray([1.0, 2.0, 9.0]), np.asarray([0.0, 4.0, 6.0]))
    assert figures == {"mae": pytest.approx(2.0), "xauc": 1.0}


def test_metrics_of_nothing_are_undefined() -> None:
    none = np.zeros(0, np.float32)
    assert all(math.isnan(value) for value in binary_metrics(none, none, none).values())
    assert all(math.isnan(value) for value in watch_time_metrics(none, none).values())
