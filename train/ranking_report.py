"""The ranker's part of the report: figures against the floor, slices, and the predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.schema import Schema
from train.figures import without_nan
from train.impressions import Impressions
from train.ranking_metrics import auc, binary_metrics, watch_time_metrics, xauc
from train.rate_floor import rate_logits

Report = dict[str, Any]
Predictions = npt.NDArray[np.float32]


def ranking_report(impressions: Impressions, predicted: Predictions) -> Report:
    """Return "ranking", "ranking_floor" and "slices" of a split's predictions (n, tasks)."""
    examples, schema = impressions.examples, impressions.examples.schema
    users, items = impressions.column("user"), impressions.column("item")
    labels, floor = impressions.labels, rate_logits(impressions, schema)
    masks = {
        "new_users": examples.user_train_events[users] == 0,
        "new_items": examples.catalogue.train_events[items] == 0,
    }
    report: Report = {
        "ranking": _figures(schema, predicted, labels, users),
        "ranking_floor": _floor_figures(schema, floor, labels),
        "slices": {
            name: {
                "ranking": _figures(schema, predicted[mask], labels[mask], users[mask]),
                "ranking_floor": _floor_figures(schema, floor[mask], labels[mask]),
                "impressions": int(mask.sum()),
            }
            for name, mask in masks.items()
        },
    }
    cleaned: Report = without_nan(report)
    return cleaned


def write_predictions(path: Path, impressions: Impressions, predicted: Predictions) -> None:
    """Write user_id, item_id, timestamp, pred_<task> and label_<task>, in the data's own ids."""
    examples = impressions.examples
    columns: dict[str, pl.Series] = {
        "user_id": _ids(examples.user_ids, impressions.column("user")),
        "item_id": _ids(examples.catalogue.table["item_id"], impressions.column("item")),
        "timestamp": _timestamps(impressions),
    }
    for k, task in enumerate(examples.schema.tasks):
        columns[f"pred_{task.name}"] = pl.Series(predicted[:, k])
        columns[f"label_{task.name}"] = pl.Series(impressions.labels[:, k]).fill_nan(None)
    pl.DataFrame(columns).write_parquet(path)


def _ids(ids: pl.Series, rows: npt.NDArray[np.int32]) -> pl.Series:
    """Return the data's own ids of rows from 1; null of the unknown row 0."""
    return ids.clear(1).append(ids).gather(rows)


def _timestamps(impressions: Impressions) -> pl.Series:
    timestamps = pl.Series(impressions.column("timestamp"))
    if not impressions.examples.schema.has_time:
        return timestamps
    return timestamps.cast(pl.Datetime("ms", "UTC"))


def _figures(
    schema: Schema,
    predicted: Predictions,
    labels: Predictions,
    users: npt.NDArray[np.int32],
) -> Report:
    report: Report = {}
    for k, task in enumerate(schema.tasks):
        known = ~np.isnan(labels[:, k])
        pair = predicted[known, k], labels[known, k]
        report[task.name] = (
            watch_time_metrics(*pair)
            if task.kind == "watch_time"
            else binary_metrics(*pair, users[known])
        )
    return report


def _floor_figures(schema: Schema, scores: Predictions, labels: Predictions) -> Report:
    report: Report = {}
    for k, task in enumerate(schema.tasks):
        known = ~np.isnan(labels[:, k])
        metric = xauc if task.kind == "watch_time" else auc
        report[task.name] = {metric.__name__: metric(scores[known, k], labels[known, k])}
    return report
