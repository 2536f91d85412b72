"""A recommender trained by the real commands, with its report and its predictions."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from tests.conftest import ROOT, succeed


@dataclass(frozen=True)
class TrainedRun:
    """What one run of the commands left."""

    report: dict[str, Any]
    predictions: Path

    def ranking(self) -> pl.DataFrame:
        """The test impressions with predictions and labels."""
        return pl.read_parquet(self.predictions / "ranking.parquet")

    def retrieval(self) -> pl.DataFrame:
        """The test users with targets and the first hundred items."""
        return pl.read_parquet(self.predictions / "retrieval.parquet")


def trained_run(config: str, root: Path, *arguments: str) -> TrainedRun:
    """Run `features` and `train` with a config, in a root of their own."""
    overrides = [word for key in (f"storage.root={root}", *arguments) for word in ("--set", key)]
    path = ROOT / config
    succeed("features", overrides, config=path)
    report, predictions = root / "report.json", root / "predictions"
    outputs = ["--report", str(report), "--predictions", str(predictions)]
    succeed("train", [*overrides, *outputs], config=path)
    return TrainedRun(json.loads(report.read_text()), predictions)


def rank_sum_auc(scores: npt.NDArray[np.float64], labels: npt.NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve by the rank-sum statistic, ties counted half."""
    ranks = pl.Series(scores).rank("average").to_numpy()
    positives = int(labels.sum())
    pairs = positives * (len(labels) - positives)
    return float((ranks[labels].sum() - positives * (positives + 1) / 2) / pairs)


def hit_rate(retrieval: pl.DataFrame, k: int) -> float:
    """Return the share of users with a target among their first k items."""
    hits = [
        bool(set(targets) & set(ranked[:k]))
        for targets, ranked in zip(retrieval["targets"], retrieval["ranked"], strict=True)
    ]
    return float(np.mean(hits))


def recall(retrieval: pl.DataFrame, k: int) -> float:
    """Return the mean share of a user's targets among the first k items."""
    shares = [
        len(set(targets) & set(ranked[:k])) / len(targets)
        for targets, ranked in zip(retrieval["targets"], retrieval["ranked"], strict=True)
    ]
    return float(np.mean(shares))
