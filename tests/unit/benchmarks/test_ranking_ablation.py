"""The ablation's arithmetic: differences are taken seed by seed."""

from pathlib import Path

import pytest

from benchmarks.ranking_ablation import BASE, VARIANTS, summary
from cluster.config import load
from train.config import TrainSettings


def run_of(seed: int, auc: float) -> dict[str, object]:
    return {"seed": seed, "validation": {"click auc": auc}}


def test_variants_are_compared_with_the_base_of_the_same_seed() -> None:
    runs = {
        "base/0": run_of(0, 0.70),
        "base/1": run_of(1, 0.80),
        "other/0": run_of(0, 0.71),
        "other/1": run_of(1, 0.83),
        "other/2": run_of(2, 0.10),  # its base is not trained yet
    }
    figures = summary(runs)
    assert figures["base"]["click auc"]["change"] == 0
    other = figures["other"]["click auc"]
    assert other["seeds"] == 2
    assert other["mean"] == pytest.approx(0.77)
    assert other["change"] == pytest.approx(0.02)
    assert other["sd"] == pytest.approx(0.02 / 2**0.5)


def test_a_variant_without_its_base_has_no_figures_yet() -> None:
    assert summary({"other/0": run_of(0, 0.7)}) == {"other": {}}


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != BASE])
def test_every_variant_is_a_config(name: str) -> None:
    load(TrainSettings, Path("configs/kuairand.toml"), list(VARIANTS[name]))
