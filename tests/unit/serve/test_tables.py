"""Answers and reports as text."""

from typing import Any

from rich.console import Console
from rich.table import Table

from serve.demo import WIDTH
from serve.tables import answer_table, report_tables


def text(*tables: Table, width: int = 140) -> str:
    console = Console(width=width, record=True)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
    return captured.get()


def item(item_id: int, **changes: Any) -> dict[str, Any]:
    predictions = {"click": 0.25, "watch_time": 12.3}
    known = {"item_id": item_id, "title": "On clay", "score": 0.5, "source": "fresh"}
    return {**known, "predictions": predictions, **changes}


def answer(*items: dict[str, Any], degraded: str | None = None) -> dict[str, Any]:
    timings = {"rank": 3.21, "total": 5.0}
    return {"items": list(items), "bundle": "b1", "degraded": degraded, "timings_ms": timings}


def test_an_item_shows_title_trait_source_and_predictions() -> None:
    shown = text(answer_table(answer(item(7)), "A user", {"7": "pottery"}, "topic"))
    for part in ("A user", "On clay", "pottery", "fresh", "0.500", "25.0 %", "12.3 s", "rank 3.2"):
        assert part in shown


def test_what_is_unknown_is_shown_as_such() -> None:
    odd = item(7, title=None, predictions={"click": None})
    shown = text(answer_table(answer(odd, degraded="rank late"), "A user", {}, None))
    for part in ("item 7", "-", "degraded: rank late"):
        assert part in shown


def test_an_empty_answer_is_a_table_too() -> None:
    assert "A user" in text(answer_table(answer(), "A user", {}, None))


def test_a_report_shows_models_beside_their_floors() -> None:
    report = {
        "retrieval": {"two_tower": {"recall@20": 0.31}, "popular": {"recall@20": 0.12}},
        "ranking": {"click": {"auc": 0.75, "ece": 0.01}, "watch_time": {"mae": 9.0, "xauc": 0.6}},
        "ranking_floor": {"click": {"auc": 0.726}, "watch_time": {"xauc": 0.55}},
    }
    shown = text(*report_tables(report))
    for part in ("two_tower", "0.3100", "0.1200", "0.7500", "0.7260", "xauc", "0.5500", "ece 0.01"):
        assert part in shown


def test_a_whole_report_fits_the_demonstrations_width() -> None:
    accuracy = dict.fromkeys(
        ("hit_rate@10", "ndcg@10", "recall@20", "ndcg@20", "recall@100"), 0.1234
    )
    exposure = {"coverage@10": 0.5, "coverage@100": 0.5, "gini@10": 0.5, "gini@100": 0.5}
    models = ("two_tower", "popular", "popular_recent", "co_occurrence")
    figures = {"auc": 0.75, "gauc": 0.7, "log_loss": 0.6, "ece": 0.01, "base_rate": 0.3}
    report = {
        "retrieval": dict.fromkeys(models, accuracy | exposure),
        "ranking": {"long_view": figures},
        "ranking_floor": {"long_view": {"auc": 0.7}},
    }
    shown = text(*report_tables(report), width=WIDTH)
    for part in (*models, *accuracy, "base_rate 0.3"):
        assert part in shown
    assert "gini" not in shown


def test_a_figure_that_the_data_does_not_define_is_a_dash() -> None:
    report = {
        "retrieval": {"two_tower": {"recall@20": None}, "popular": {"recall@20": None}},
        "ranking": {"click": {"auc": None, "gauc": None, "ece": 0.5}},
        "ranking_floor": {"click": {"auc": None}},
    }
    shown = text(*report_tables(report))
    assert shown.count(" - ") == 4
    assert "ece 0.5" in shown


def test_a_report_of_one_model_shows_that_one() -> None:
    assert len(report_tables({"retrieval": {"two_tower": {"recall@20": 0.3}}})) == 1
