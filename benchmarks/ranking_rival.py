"""The ranker against LightGBM on the same prepared impressions.

    .venv/bin/python -m benchmarks.ranking_rival CONFIG [--set ...]

The ranker is trained if it is not up to date. The rival, one boosted forest per task, sees the
same point-in-time rates, all attributes of users and items, the context and the items' age, early
stopped on the validation split. Left out are columns of more than `MAX_CODES` values, ids first of
all: with them it was worse. Codes go in as numbers, in the order of their frequency, for the same
reason. Both are judged on the test split by the same functions.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
from rich.progress import track

from benchmarks.machine import facts
from cluster.command import parser, run
from cluster.storage import Storage
from features.config import Kind, Owner, TaskConfig
from features.examples import Examples
from features.schema import Schema
from train.config import TrainSettings
from train.execution import carry_out
from train.impressions import Impressions
from train.order import Order
from train.ranking_metrics import binary_metrics, watch_time_metrics

RESULTS = Path(__file__).parent / "results" / "ranking_rival.json"
PACKAGES = ("lightgbm", "torch", "numpy")
MAX_CODES = 2_000
MAX_ROUNDS, PATIENCE = 2_000, 100
BATCH = 50_000
PARAMETERS = {
    "learning_rate": 0.03,
    "num_leaves": 15,
    "min_data_in_leaf": 200,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "seed": 0,
    "deterministic": True,
    "verbose": -1,
}

OWNERS: tuple[Owner, ...] = ("user", "item", "context")

Floats = npt.NDArray[np.float32]
Figures = dict[str, dict[str, float]]


def main(settings: TrainSettings, options: argparse.Namespace) -> None:
    """Judge both, print one JSON line and keep it."""
    examples = Examples.open(Storage(settings.storage.root, settings.recommender))
    examples.check_settings(settings)
    order = Order.of(settings, "ranking", examples)
    if not order.is_done:
        carry_out(settings, [order])
    started = time.monotonic()
    rival = rival_figures(examples, options.threads)
    result = {
        "benchmark": "ranking_rival",
        "recommender": settings.recommender,
        "millrace": order.metrics()["ranking"],
        "lightgbm": rival,
        "lightgbm_seconds": round(time.monotonic() - started, 1),
        **facts(*PACKAGES),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result))


def rival_figures(examples: Examples, threads: int) -> Figures:
    """Train a forest per task and return its figures on the test split."""
    splits = {name: Impressions(examples, name) for name in ("train", "validation", "test")}
    inputs = {name: table(split) for name, split in splits.items()}
    users = splits["test"].column("user")
    figures: Figures = {}
    for k, task in enumerate(track(examples.schema.tasks, "LightGBM")):
        forest = _forest(task, k, splits, inputs, threads)
        known = ~np.isnan(splits["test"].labels[:, k])
        predicted = np.asarray(forest.predict(inputs["test"][known]), np.float64)
        labels = splits["test"].labels[known, k]
        figures[task.name] = (
            watch_time_metrics(np.expm1(np.maximum(predicted, 0.0)), labels)
            if task.kind == "watch_time"
            else binary_metrics(predicted, labels, users[known])
        )
    return figures


def table(split: Impressions, max_codes: int = MAX_CODES) -> Floats:
    """Return what the forests see of every impression of a split, (n, columns).

    Columns of more than `max_codes` values are left out.
    """
    schema = split.examples.schema
    parts = []
    for start in range(0, len(split), BATCH):
        rows = np.arange(start, min(start + BATCH, len(split)))
        batch = split.batch(rows)
        parts.append(
            np.concatenate(
                [
                    *(
                        batch[f"{owner}_codes"][:, _small(schema, owner, "categorical", max_codes)]
                        for owner in OWNERS
                    ),
                    *(batch[f"{owner}_numbers"] for owner in OWNERS),
                    *_flags(schema, "user", batch["user_multi"], max_codes),
                    *_flags(schema, "item", batch["item_multi"], max_codes),
                    *(batch[name] for name in ("item_age", "user_rates", "item_rates")),
                ],
                axis=1,
                dtype=np.float32,
            )
        )
    return np.concatenate(parts)


def _small(schema: Schema, owner: Owner, kind: Kind, max_codes: int) -> list[int]:
    features = enumerate(schema.select(owner, kind))
    return [k for k, feature in features if feature.rows <= max_codes]


def _flags(
    schema: Schema, owner: Owner, multi: npt.NDArray[Any], max_codes: int
) -> Iterator[Floats]:
    """Yield a column per value of each multi-valued feature."""
    features = schema.select(owner, "multi")
    for k in _small(schema, owner, "multi", max_codes):
        has = np.zeros((len(multi), features[k].rows), np.float32)
        np.put_along_axis(has, multi[:, k].astype(np.int64), 1.0, axis=1)
        yield has[:, 1:]


def _forest(
    task: TaskConfig,
    k: int,
    splits: dict[str, Impressions],
    inputs: dict[str, Floats],
    threads: int,
) -> lightgbm.Booster:
    is_binary = task.kind == "binary"
    objective = {"objective": "binary", "metric": "auc"} if is_binary else {"objective": "l2"}
    data: dict[str, lightgbm.Dataset] = {}
    for name in ("train", "validation"):
        labels = splits[name].labels[:, k]
        known = ~np.isnan(labels)
        target = labels[known] if is_binary else np.log1p(np.maximum(labels[known], 0.0))
        data[name] = lightgbm.Dataset(inputs[name][known], target, reference=data.get("train"))
    return lightgbm.train(
        {**PARAMETERS, **objective, "num_threads": threads},
        data["train"],
        MAX_ROUNDS,
        [data["validation"]],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )


if __name__ == "__main__":
    command = parser("benchmarks.ranking_rival", "The ranker against LightGBM.")
    command.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    sys.exit(run(command, TrainSettings, main))
