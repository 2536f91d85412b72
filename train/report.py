"""The report: one JSON object with a recommender's figures against their floors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.storage import MANIFEST
from models.bundle import draft_id
from train.figures import merged, without_nan
from train.order import Order

Report = dict[str, Any]
PARTS = ("retrieval", "ranking", "ranking_floor", "slices")


def report(examples: Mapping[str, Any], orders: Sequence[Order]) -> Report:
    """Put together the figures of what was trained.

    Args:
        examples: the prepared data's manifest.
        orders: every model of the recommender; those that are not trained are left out, and then
            the report names no bundle.
    """
    done = [order for order in orders if order.is_done]
    folders = {order.model: order.storage.fetch(order.artifact) for order in done}
    figures: Report = {}
    seconds = _seconds("features", examples.get("seconds"))
    for model, folder in folders.items():
        figures = merged(figures, _read(folder / "metrics.json"))
        seconds |= _seconds(model, _read(folder / MANIFEST)["seconds"])
    trained: dict[str, str] = {order.model: order.id for order in done}
    is_whole = len(done) == len(orders)
    return {
        "recommender": orders[0].settings.recommender,
        "bundle": draft_id(examples["id"], trained) if is_whole else None,
        "dataset": examples["dataset"],
        **{part: without_nan(figures[part]) for part in PARTS if part in figures},
        "seconds": seconds,
    }


def write_report(path: Path, value: Report) -> None:
    """Write it in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    partial.replace(path)


def _seconds(name: str, value: Any) -> dict[str, float]:
    """Name durations by what took them."""
    if isinstance(value, Mapping):
        return {f"{name}.{phase}": float(seconds) for phase, seconds in value.items()}
    return {} if value is None else {name: float(value)}


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text())
    return value
