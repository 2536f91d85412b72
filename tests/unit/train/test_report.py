"""The report and the predictions, from trained artifacts."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from cluster.storage import Storage
from models.bundle import draft_id
from train.config import ModelName, TrainSettings
from train.order import Order
from train.predictions import write_predictions
from train.report import report, write_report
from train.tables import tables

EXAMPLES = {"id": "prepared", "dataset": {"users": 2, "items": 3, "events": 4, "split": {}}}
METRICS: dict[ModelName, dict[str, Any]] = {
    "retrieval": {
        "retrieval": {
            "two_tower": {"hit_rate@10": 0.5, "ndcg@10": 0.4, "coverage@10": 0.7, "gini@10": 0.6},
            "popular": {"hit_rate@10": 0.3, "ndcg@10": 0.45},
        },
        "slices": {"new_users": {"retrieval": {"two_tower": {"hit_rate@10": 0.1}}, "users": 1}},
    },
    "ranking": {
        "ranking": {"click": {"auc": 0.75, "ece": 0.01}, "watch_time": {"mae": 9.0, "xauc": 0.6}},
        "ranking_floor": {"click": {"auc": 0.7}, "watch_time": {"xauc": 0.55}},
        "slices": {"new_users": {"ranking": {"click": {"auc": None}}, "impressions": 2}},
    },
}


@pytest.fixture
def orders(tmp_path: Path) -> list[Order]:
    settings = TrainSettings.model_validate(
        {
            "recommender": "toy",
            "dataset": {"format": "synthetic"},
            "tasks": [{"name": "click", "column": "click"}],
        }
    )
    storage = Storage(str(tmp_path / "root"), "toy")
    return [Order(settings, model, storage, {"model": model}) for model in METRICS]


def publish(order: Order) -> None:
    with order.storage.publishing(order.artifact) as folder:
        (folder / "metrics.json").write_text(json.dumps(METRICS[order.model]))
        (folder / f"{order.model}.parquet").write_bytes(order.model.encode())
        manifest = {"id": order.id, "seconds": {"training": 2.5, "export": 0.5}}
        (folder / "manifest.json").write_text(json.dumps(manifest))


def test_the_report_holds_every_models_figures(orders: list[Order]) -> None:
    for order in orders:
        publish(order)
    value = report(EXAMPLES, orders)
    assert value["recommender"] == "toy"
    assert value["bundle"] == draft_id("prepared", {order.model: order.id for order in orders})
    assert value["dataset"] == EXAMPLES["dataset"]
    for part in ("retrieval", "ranking", "ranking_floor"):
        assert value[part] == (METRICS["retrieval"] | METRICS["ranking"])[part]
    assert value["slices"]["new_users"] == {
        "retrieval": {"two_tower": {"hit_rate@10": 0.1}},
        "users": 1,
        "ranking": {"click": {"auc": None}},
        "impressions": 2,
    }
    assert value["seconds"] == {
        "retrieval.training": 2.5,
        "retrieval.export": 0.5,
        "ranking.training": 2.5,
        "ranking.export": 0.5,
    }


def test_a_report_of_one_model_names_no_bundle(orders: list[Order]) -> None:
    publish(orders[1])
    value = report(EXAMPLES, orders)
    assert value["bundle"] is None
    assert "retrieval" not in value
    assert value["ranking"]["click"]["auc"] == 0.75


def test_a_model_of_other_settings_is_left_out(orders: list[Order]) -> None:
    publish(orders[0])
    other = Order(orders[0].settings, "retrieval", orders[0].storage, {"model": "changed"})
    assert orders[0].is_done
    assert not other.is_done
    assert "retrieval" not in report(EXAMPLES, [other])


def test_a_written_report_is_strict_json(tmp_path: Path, orders: list[Order]) -> None:
    metrics = {"retrieval": {"two_tower": {"ndcg@10": math.nan}}}
    publish(orders[0])
    path = orders[0].storage.fetch(orders[0].artifact) / "metrics.json"
    path.write_text(json.dumps(metrics))
    target = tmp_path / "deep" / "report.json"
    write_report(target, report(EXAMPLES, orders))
    value = json.loads(target.read_text(), parse_constant=pytest.fail)
    assert value["retrieval"]["two_tower"]["ndcg@10"] is None
    assert [file.name for file in target.parent.iterdir()] == ["report.json"]


def test_predictions_are_copied(tmp_path: Path, orders: list[Order]) -> None:
    for order in orders:
        publish(order)
    write_predictions(tmp_path / "out", orders)
    names = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert names == {"retrieval.parquet": "retrieval", "ranking.parquet": "ranking"}


def test_tables_set_models_beside_floors(orders: list[Order]) -> None:
    for order in orders:
        publish(order)
    text = tables(report(EXAMPLES, orders))
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert ["two_tower", "0.5000*", "0.4000"] in lines
    assert ["popular", "0.3000", "0.4500*"] in lines
    assert ["two_tower", "0.7000", "0.6000"] in lines
    assert ["popular", "-", "-"] in lines
    rows = {first: others for first, *others in lines}
    assert rows["click"] == ["0.7500", "0.7000", "0.0100", "-", "-", "-"]
    assert rows["watch_time"] == ["-", "-", "-", "9.0000", "0.6000", "0.5500"]
