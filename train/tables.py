"""The report as tables for people: models beside their floors."""

import io
import math
from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from train.report import Report

WIDTH = 100


def tables(report: Report) -> str:
    """Return the report's figures as text; the best of a retrieval column is marked."""
    stream = io.StringIO()
    console = Console(file=stream, width=WIDTH)
    for table in _tables(report):
        console.print(table)
    return stream.getvalue().rstrip()


def _tables(report: Report) -> Iterator[Table]:
    if "retrieval" in report:
        yield _retrieval(report["retrieval"])
        yield from _exposure(report["retrieval"])
    if "ranking" in report:
        yield _ranking(report["ranking"], report.get("ranking_floor", {}))


def _retrieval(methods: dict[str, dict[str, float]]) -> Table:
    names = [name for name in _names(methods) if not _is_exposure(name)]
    best = {n: max(f.get(n, -math.inf) for f in methods.values()) for n in names}
    table = _table("retrieval on the test split (* best)", "method")
    for name in names:
        table.add_column(name, justify="right")
    for method, figures in methods.items():
        cells = (_marked(figures.get(name), best[name]) for name in names)
        table.add_row(method, *cells)
    return table


def _exposure(methods: dict[str, dict[str, float]]) -> Iterator[Table]:
    names = [name for name in _names(methods) if _is_exposure(name)]
    if not names:
        return
    table = _table("retrieval: how lists spread over the catalogue", "method")
    for name in names:
        table.add_column(name, justify="right")
    for method, figures in methods.items():
        table.add_row(method, *(_cell(figures.get(name)) for name in names))
    yield table


def _is_exposure(name: str) -> bool:
    return name.startswith(("coverage@", "gini@"))


def _names(rows: dict[str, dict[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for figures in rows.values() for name in figures))


def _ranking(tasks: dict[str, dict[str, float]], floors: dict[str, dict[str, float]]) -> Table:
    names = _names(tasks)
    has_floor = {name for figures in floors.values() for name in figures}
    table = _table("ranking on the test split (floor: sum of rate logits)", "task")
    for name in names:
        table.add_column(name, justify="right")
        if name in has_floor:
            table.add_column("floor", justify="right")
    for task, figures in tasks.items():
        cells = []
        for name in names:
            cells.append(_cell(figures.get(name)))
            if name in has_floor:
                cells.append(_cell(floors.get(task, {}).get(name)))
        table.add_row(task, *cells)
    return table


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first, no_wrap=True)
    return table


def _marked(value: float | None, best: float) -> str:
    return f"{_cell(value)}{'*' if value is not None and value == best else ' '}"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
