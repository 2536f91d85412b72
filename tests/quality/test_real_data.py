"""Floors on real data; minutes each, so only `make quality` runs them."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.quality.runs import trained_run

pytestmark = [pytest.mark.quality, pytest.mark.long]

DATA = ROOT.parent / "shared" / "data"


def needs(name: str) -> pytest.MarkDecorator:
    """Skip where a data set is not beside the repository."""
    return pytest.mark.skipif(not (DATA / name).is_dir(), reason=f"no ../shared/data/{name}")


@needs("kuairand-pure")
def test_kuairand_beats_its_floors(tmp_path: Path) -> None:
    report = trained_run("configs/kuairand.toml", tmp_path).report
    for task in ("click", "long_view", "like"):
        assert report["ranking"][task]["auc"] > report["ranking_floor"][task]["auc"], task
    retrieval = report["retrieval"]
    assert retrieval["two_tower"]["recall@100"] > retrieval["popular"]["recall@100"]


@needs("ml-1m")
def test_ml1m_goes_beyond_the_published_level_of_hstu(tmp_path: Path) -> None:
    figures = trained_run("configs/ml1m.toml", tmp_path).report["retrieval"]["two_tower"]
    assert figures["hit_rate@10"] >= 0.345
    assert figures["ndcg@10"] >= 0.205
