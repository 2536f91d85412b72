"""The rate-logit floor by hand."""

import math
from pathlib import Path

import numpy as np
import pytest

from tests.toy_ranking import toy_examples, toy_schema
from train.impressions import Impressions
from train.rate_floor import rate_logits


def smoothed_logit(clicks: float, impressions: float, base: float) -> float:
    rate = (clicks + 20 * base) / (impressions + 20)
    return math.log(rate / (1 - rate)) - math.log(base / (1 - base))


def test_the_floor_sums_user_context_and_item_but_not_item_attributes(tmp_path: Path) -> None:
    test = Impressions(toy_examples(tmp_path), "test")
    user, item = test.column("user_counts"), test.column("item_counts")
    assert (user.shape[1], item.shape[1]) == (2, 2)  # user and tab, item and its author
    scores = rate_logits(test, toy_schema())
    for row in (0, 123, 399):
        counts = [user[row, 0], user[row, 1], item[row, 0]]
        expected = sum(smoothed_logit(c[1], c[0], 0.4) for c in counts)
        assert scores[row, 0] == pytest.approx(expected, abs=1e-4)
        means = [(c[3] + 20 * 2.0) / (c[0] + 20) - 2.0 for c in counts]
        assert scores[row, 2] == pytest.approx(sum(means), abs=1e-4)


def test_data_without_rates_has_a_constant_floor(tmp_path: Path) -> None:
    schema = toy_schema(entities=(), has_time=False)
    test = Impressions(toy_examples(tmp_path, schema=schema), "test")
    np.testing.assert_array_equal(rate_logits(test, schema), np.zeros((len(test), 3)))
