"""The trials as a table, live on a terminal, as lines elsewhere."""

import sys
from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table

from tune.outcome import Outcome, best_of
from tune.space import short_names
from tune.sweep import Sweep

MAX_ROWS = 20
OVER = {"stopped", "done", "failed"}


class LiveTable:
    """Shows the trials on stderr while they run.

    Args:
        sweep: whose trials they are.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self._live: Live | None = None
        self._told: dict[int, tuple[str, int]] = {}

    def begin(self) -> None:
        """Take the terminal, if there is one."""
        if sys.stderr.isatty():
            self._live = Live(console=Console(stderr=True), auto_refresh=False)
            self._live.start()

    def see(self, outcomes: list[Outcome]) -> None:
        """Draw the table anew, or say what is new."""
        if self._live is None:
            self._say_news(outcomes)
        else:
            self._live.update(table(self.sweep, outcomes), refresh=True)

    def end(self, outcomes: list[Outcome]) -> None:
        """Leave the last state on the screen."""
        self.see(outcomes)
        if self._live is not None:
            self._live.stop()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: everything is drawn anew."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over nothing."""

    def _say_news(self, outcomes: Sequence[Outcome]) -> None:
        best = best_of(outcomes, self.sweep.sign)
        for outcome in outcomes:
            news = outcome.status, len(outcome.curve)
            is_started = outcome.status == "running" or outcome.status in OVER
            if is_started and self._told.get(outcome.number) != news:
                self._told[outcome.number] = news
                sys.stderr.write(f"{_line(self.sweep, outcome, is_best=outcome is best)}\n")
                sys.stderr.flush()


def table(sweep: Sweep, outcomes: Sequence[Outcome], max_rows: int = MAX_ROWS) -> Table:
    """Return the best trials and those that are under way, best first."""
    keys = [parameter.key for parameter in sweep.space.parameters]
    names = short_names(keys)
    drawing = Table(title=_title(sweep, outcomes), title_justify="left", box=SIMPLE_HEAD)
    for name in ("trial", "status", "epoch", sweep.monitor):
        drawing.add_column(name, justify="left" if name == "status" else "right", no_wrap=True)
    for key in keys:
        drawing.add_column(names[key], justify="right")
    drawing.add_column("seconds", justify="right")
    best = best_of(outcomes, sweep.sign)
    for outcome in _sorted(sweep, outcomes)[:max_rows]:
        drawing.add_row(
            str(outcome.number),
            outcome.status,
            f"{len(outcome.curve)}/{sweep.epochs}",
            f"{_figure(outcome)}{'*' if outcome is best else ' '}",
            *(cell(outcome.values.get(key)) for key in keys),
            f"{outcome.seconds:.0f}",
        )
    return drawing


def _title(sweep: Sweep, outcomes: Sequence[Outcome]) -> str:
    num_over = sum(outcome.status in OVER for outcome in outcomes)
    planned = sweep.config.num_trials
    of = f" of {planned}" if planned else ""
    return f"sweep of {sweep.model} by {sweep.monitor}: {num_over}{of} trials over (* best)"


def _sorted(sweep: Sweep, outcomes: Sequence[Outcome]) -> list[Outcome]:
    judged = [o for o in outcomes if o.value is not None]
    others = [o for o in outcomes if o.value is None and o.status != "waiting"]
    return sorted(judged, key=lambda o: -sweep.sign * (o.value or 0.0)) + others


def _line(sweep: Sweep, outcome: Outcome, *, is_best: bool) -> str:
    names = short_names([parameter.key for parameter in sweep.space.parameters])
    values = "  ".join(f"{names[key]} {cell(value)}" for key, value in outcome.values.items())
    figure = f"{sweep.monitor} {_figure(outcome)}{' best' if is_best else ''}"
    parts = [f"trial {outcome.number} {outcome.status}", f"epoch {len(outcome.curve)}", figure]
    return "  ".join([*parts, values, *([outcome.reason] if outcome.reason else [])])


def _figure(outcome: Outcome) -> str:
    return "-" if outcome.value is None else f"{outcome.value:.4f}"


def cell(value: Any) -> str:
    """Write a parameter's value short."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
