"""Answers and a training report as readable tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

Row = Mapping[str, Any]
Figures = Mapping[str, float | None]
"""None where the data defines none, such as an AUC without both classes."""

ACCURACY = ("hit_rate", "ndcg", "recall")
"""The demonstration shows these of retrieval; how lists spread stands in training's own tables."""


def answer_table(answer: Row, heading: str, traits: Mapping[str, str], trait: str | None) -> Table:
    """Lay out the items of an answer, its stage timings below.

    Args:
        answer: the JSON of `POST /v1/recommendations`.
        heading: says who asked.
        traits: by item id as text, the attribute that the demonstration follows.
        trait: the attribute's name; None leaves the column out.
    """
    items: Sequence[Row] = answer["items"]
    tasks = list(items[0]["predictions"]) if items else []
    table = Table(title=heading, title_justify="left", title_style="bold", caption_justify="left")
    for name in ("", "title", *([trait] if trait else []), "source"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for name in ("score", *(task.replace("_", " ") for task in tasks)):
        table.add_column(name, justify="right", no_wrap=True)
    for position, item in enumerate(items, start=1):
        title = item.get("title") or f"item {item['item_id']}"
        known = [traits.get(str(item["item_id"]), "")] if trait else []
        predictions = [_prediction(task, item["predictions"][task]) for task in tasks]
        score = f"{item['score']:.3f}"
        table.add_row(str(position), title, *known, item["source"], score, *predictions)
    table.caption = _timings(answer)
    return table


def report_tables(report: Row) -> list[Table]:
    """Lay out the models of a training report beside the floors that they have to beat."""
    tables = []
    if report.get("retrieval"):
        tables.append(_retrieval_table(report["retrieval"]))
    if report.get("ranking"):
        tables.append(_ranking_table(report["ranking"], report.get("ranking_floor", {})))
    return tables


def _retrieval_table(models: Mapping[str, Figures]) -> Table:
    metrics = [m for m in next(iter(models.values())) if m.startswith(ACCURACY)]
    table = Table(title="Retrieval, test split", title_justify="left", title_style="bold")
    table.add_column("model", no_wrap=True)
    for metric in metrics:
        table.add_column(metric, justify="right")
    for model, figures in models.items():
        best = [figures.get(m) == max(_known(models, m), default=None) for m in metrics]
        cells = [_figure(figures.get(m)) for m in metrics]
        marked = [f"[bold]{c}[/bold]" if b else c for c, b in zip(cells, best, strict=True)]
        table.add_row(model, *marked)
    return table


def _ranking_table(tasks: Mapping[str, Figures], floors: Mapping[str, Figures]) -> Table:
    table = Table(title="Ranking, test split", title_justify="left", title_style="bold")
    table.add_column("task")
    for name in ("measure", "ranker", "rate floor"):
        table.add_column(name, justify="right")
    table.add_column("further")
    for task, figures in tasks.items():
        measure = "auc" if "auc" in figures else "xauc"
        floor = floors.get(task, {}).get(measure)
        rest = {n: v for n, v in figures.items() if n != measure and v is not None}
        further = ", ".join(f"{name} {value:.4g}" for name, value in rest.items())
        table.add_row(task, measure, _figure(figures.get(measure)), _figure(floor), further)
    return table


def _known(models: Mapping[str, Figures], metric: str) -> list[float]:
    values = [figures.get(metric) for figures in models.values()]
    return [value for value in values if value is not None]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _prediction(task: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} s" if "time" in task else f"{100 * value:.1f} %"


def _timings(answer: Row) -> str:
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in answer["timings_ms"].items())
    degraded = f"; degraded: {answer['degraded']}" if answer["degraded"] else ""
    return f"milliseconds: {stages}; bundle {answer['bundle']}{degraded}"
