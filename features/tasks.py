"""Numbered tasks on Ray Data: a function over 0..n-1, with progress and one result each."""

import json
import logging
from collections.abc import Callable
from typing import Any

import ray.data

from cluster.progress import ProgressBar

Task = Callable[[int], dict[str, Any]]
"""Does piece i, writes its output into a workspace and returns a small JSON-serialisable result."""

Run = Callable[[str, Task, int], list[dict[str, Any]]]
"""Runs a task for every number below a count: `run_tasks`, or anything that keeps its contract."""


def run_tasks(description: str, task: Task, count: int) -> list[dict[str, Any]]:
    """Run a task for every number below `count`; results are in the order of the numbers.

    Ray Data schedules the pieces over the cluster, one core each; a piece whose worker dies is run
    again. Only the results come back, so neither side grows with the data.
    """
    quiet_console()
    pieces = ray.data.range(count, override_num_blocks=count)
    finished = pieces.map(_with_result(task))
    results: dict[int, dict[str, Any]] = {}
    with ProgressBar(description, count) as progress:
        for row in finished.iter_rows():
            results[row["id"]] = json.loads(row["result"])
            progress.advance()
    return [results[index] for index in range(count)]


def quiet_console() -> None:
    """Leave the terminal to our progress and errors; Ray Data still writes its log files."""
    ray.data.DataContext.get_current().enable_progress_bars = False
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)


def _with_result(task: Task) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def run(row: dict[str, Any]) -> dict[str, Any]:
        return {"id": row["id"], "result": json.dumps(task(int(row["id"])))}

    return run
