"""The picture of a sweep: curves, the best so far, and what each parameter did."""

import io
import math
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from cluster.errors import ConfigError
from tune.outcome import Outcome, best_of, is_default
from tune.parameter import Parameter
from tune.space import short_names
from tune.sweep import Sweep

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
WIDTH, HEIGHT = 4.6, 3.4
DPI = 110
MARGIN = 0.05
GREY, BLUE, RED = "#9aa0a6", "#1a5fb4", "#c01c28"


def plot(sweep: Sweep, outcomes: Sequence[Outcome]) -> bytes:
    """Return a PNG of the trials that have a figure.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    figure_class = _figure_class()
    judged = [outcome for outcome in outcomes if outcome.value is not None]
    num_rows = math.ceil((2 + len(sweep.space.parameters)) / COLUMNS)
    figure = figure_class(figsize=(COLUMNS * WIDTH, num_rows * HEIGHT), layout="constrained")
    axes = figure.subplots(num_rows, COLUMNS, squeeze=False).flatten()
    _draw_curves(axes[0], sweep, judged)
    _draw_progress(axes[1], sweep, judged)
    names = short_names([parameter.key for parameter in sweep.space.parameters])
    for parameter, ax in zip(sweep.space.parameters, axes[2:], strict=False):
        _draw_parameter(ax, sweep, judged, parameter)
        ax.set_xlabel(names[parameter.key])
    for ax in axes[2 + len(sweep.space.parameters) :]:
        ax.axis("off")
    figure.suptitle(f"{sweep.settings.recommender}: sweep of {sweep.model}, {len(judged)} trials")
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    return stream.getvalue()


def _draw_curves(ax: "Axes", sweep: Sweep, outcomes: Sequence[Outcome]) -> None:
    """Draw the figure by epoch; a trial that was stopped ends in a cross."""
    best = best_of(outcomes, sweep.sign)
    for outcome in outcomes:
        color, width = _style(sweep, outcome, best)
        epochs = range(1, len(outcome.curve) + 1)
        label = _label(sweep, outcome, best)
        ax.plot(epochs, outcome.curve, color=color, linewidth=width, label=label)
        mark = "x" if outcome.status == "stopped" else "o"
        ax.plot(len(outcome.curve), outcome.curve[-1], mark, color=color, markersize=4)
    ax.set_xlabel("epoch")
    ax.set_ylabel(sweep.monitor)
    ax.locator_params(axis="x", integer=True)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False)


def _draw_progress(ax: "Axes", sweep: Sweep, outcomes: Sequence[Outcome]) -> None:
    """Draw every trial's figure and the best so far."""
    if not outcomes:
        return
    numbers = [outcome.number for outcome in outcomes]
    values = [outcome.value for outcome in outcomes if outcome.value is not None]
    pick = max if sweep.sign > 0 else min
    ax.step(numbers, list(accumulate(values, pick)), where="post", color=BLUE)
    _scatter(ax, sweep, outcomes, range(len(outcomes)), numbers)
    ax.set_xlabel("trial")
    ax.set_ylabel(sweep.monitor)
    ax.locator_params(axis="x", integer=True)


def _draw_parameter(
    ax: "Axes", sweep: Sweep, outcomes: Sequence[Outcome], parameter: Parameter
) -> None:
    """Draw the figure over one parameter; trials that have none of it are left out."""
    indices = [n for n, outcome in enumerate(outcomes) if parameter.key in outcome.values]
    values = [outcomes[n].values[parameter.key] for n in indices]
    is_range = parameter.config.choice is None
    _scatter(ax, sweep, outcomes, indices, values if is_range else [str(v) for v in values])
    ax.set_ylabel(sweep.monitor)
    if is_range:
        ax.set_xscale("log" if parameter.is_log else "linear")
        low, high = parameter.range
        margin = MARGIN * (high - low)
        ends = (low / 1.2, high * 1.2) if parameter.is_log else (low - margin, high + margin)
        ax.set_xlim(*ends)
    if parameter.is_log:
        ax.xaxis.set_tick_params(which="minor", labelbottom=False)
    elif parameter.is_integer:
        ax.locator_params(axis="x", integer=True)


def _scatter(
    ax: "Axes", sweep: Sweep, outcomes: Sequence[Outcome], indices: Sequence[int], x: Sequence[Any]
) -> None:
    """Draw some of the outcomes as points, hollow where they were stopped."""
    best = best_of(outcomes, sweep.sign)
    for index, place in zip(indices, x, strict=True):
        outcome = outcomes[index]
        color, _ = _style(sweep, outcome, best)
        face = "none" if outcome.status == "stopped" else color
        ax.scatter([place], [outcome.value or 0.0], s=24, zorder=3, edgecolors=color, c=[face])


def _style(sweep: Sweep, outcome: Outcome, best: Outcome | None) -> tuple[str, float]:
    if outcome is best:
        return RED, 2.0
    return (BLUE, 2.0) if is_default(sweep, outcome) else (GREY, 0.9)


def _label(sweep: Sweep, outcome: Outcome, best: Outcome | None) -> str | None:
    if outcome is best:
        return f"best: trial {outcome.number}"
    return "the config as it was" if is_default(sweep, outcome) else None


def _figure_class() -> Any:
    """Return the class that draws without a screen and without pyplot's global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError("tune.plot needs matplotlib: pip install 'millrace[tune]'") from None
    return Figure
