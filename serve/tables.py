"""Answers and a training report as readable tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

Row = Mapping[str, Any]


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


def _retrieval_table(models: Mapping[str, Mapping[str, float]]) -> Table:
    metrics = list(next(iter(models.values())))
    table = Table(title="Retrieval, test split", title_justify="left", title_style="bold")
    table.add_column("model")
    for metric in metrics:
        table.add_column(metric, justify="right")
    for model, figures in models.items():
        best = [figures[m] >= max(other.get(m, 0.0) for other in models.values()) for m in metrics]
        cells = [f"{figures[m]:.4f}" for m in metrics]
        marked = [f"[bold]{c}[/bold]" if b else c for c, b in zip(cells, best, strict=True)]
        table.add_row(model, *marked)
    return table


def _ranking_table(
    tasks: Mapping[str, Mapping[str, float]], floors: Mapping[str, Mapping[str, float]]
) -> Table:
    table = Table(title="Ranking, test split", title_justify="left", title_style="bold")
    table.add_column("task")
    for name in ("measure", "ranker", "rate floor"):
        table.add_column(name, justify="right")
    table.add_column("further")
    for task, figures in tasks.items():
        measure = "auc" if "auc" in figures else "xauc"
        floor = floors.get(task, {}).get(measure)
        further = ", ".join(f"{n} {v:.4g}" for n, v in figures.items() if n != measure)
        floor_text = "" if floor is None else f"{floor:.4f}"
        table.add_row(task, measure, f"{figures[measure]:.4f}", floor_text, further)
    return table


def _prediction(task: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.1f} s" if "time" in task else f"{100 * value:.1f} %"


def _timings(answer: Row) -> str:
    stages = ", ".join(f"{stage} {ms:.1f}" for stage, ms in answer["timings_ms"].items())
    degraded = f"; degraded: {answer['degraded']}" if answer["degraded"] else ""
    return f"milliseconds: {stages}; bundle {answer['bundle']}{degraded}"
