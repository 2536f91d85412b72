"""Quantiles are read from bins, of one replica's answers or of many."""

import numpy as np
import pytest

from serve.versions.latencies import EDGES_MS, Latencies


def counted(*latencies_ms: float) -> Latencies:
    """Count some."""
    latencies = Latencies()
    for one in latencies_ms:
        latencies.note(one)
    return latencies


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_quantiles_are_those_of_the_values_to_a_few_per_cent(share: float) -> None:
    values = np.random.default_rng(0).lognormal(np.log(12), 0.6, 5_000)
    found = counted(*values).quantile_ms(share)
    assert found == pytest.approx(float(np.quantile(values, share)), rel=0.04)


def test_none_are_no_quantile() -> None:
    assert Latencies().quantile_ms(0.5) is None


def test_whatever_is_outside_the_edges_is_counted_at_them() -> None:
    lowest, highest = EDGES_MS[[0, -1]]
    assert 0.0 <= (counted(0.0).quantile_ms(0.5) or 0.0) <= lowest
    assert counted(1e9).quantile_ms(0.5) == highest


def test_parts_add_up_as_if_counted_together() -> None:
    first, second = counted(1.0, 2.0), counted(30.0)
    first.add(second)
    np.testing.assert_array_equal(first.bins, counted(1.0, 2.0, 30.0).bins)


def test_what_is_halved_keeps_its_quantiles() -> None:
    latencies = counted(*range(1, 101))
    before = latencies.quantile_ms(0.9)
    latencies.halve()
    assert (latencies.count, latencies.quantile_ms(0.9)) == (50, before)
