"""What the rival sees: the same impressions, rates included, ids left out."""

from pathlib import Path

import numpy as np

from benchmarks import ranking_rival
from tests.toy_ranking import toy_examples
from train.impressions import Impressions


def test_the_table_holds_attributes_context_and_rates(tmp_path: Path) -> None:
    split = Impressions(toy_examples(tmp_path), "train")
    table = ranking_rival.table(split, max_codes=10)  # the item ids have 31
    batch = split.batch(np.arange(len(split)))
    codes = 1 + 1 + 1  # country, author, tab
    assert table.shape == (len(split), codes + 2 + 6 + 2 + 2 * 4 + 2 * 4)
    np.testing.assert_array_equal(table[:, 1], batch["item_codes"][:, 1])
    np.testing.assert_array_equal(table[:, -8:], batch["item_rates"])
    has_tag = (batch["item_multi"][:, 0] == 3).any(1)
    np.testing.assert_array_equal(table[:, codes + 2 + 2], has_tag)


def test_the_rival_learns_and_is_judged_by_our_functions(tmp_path: Path) -> None:
    figures = ranking_rival.rival_figures(toy_examples(tmp_path, rows=400), threads=1)
    assert set(figures["click"]) == {"auc", "gauc", "log_loss", "ece", "base_rate"}
    assert figures["click"]["auc"] > 0.6
    assert set(figures["watch_time"]) == {"mae", "xauc"}
