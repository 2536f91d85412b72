"""Draws a spike: arrivals and what became of them, latency, replicas."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from benchmarks.spike.timeline import Second
from benchmarks.spike.watch import Look

COLORS = {
    "full": "#4c9f70",
    "overload: fewer candidates": "#a8c66c",
    "overload: no diversity": "#e3d26f",
    "overload: no ranker": "#e8a33d",
    "overload: popular": "#d1603d",
    "other": "#8e7cc3",
    "refused": "#6b2d5c",
    "failed": "#000000",
}

HEADROOM = 1.25
"""For the legend, above the objective."""


def plot(
    timeline: Sequence[Second],
    looks: Sequence[Look],
    path: Path,
    *,
    started_s: float,
    objective_ms: float,
    title: str,
) -> None:
    """Draw the three panels into a PNG.

    Args:
        timeline: what clients saw.
        looks: what was seen of the replicas.
        path: of the PNG.
        started_s: wall clock of the timeline's first second.
        objective_ms: drawn as a line.
        title: above all.
    """
    figure, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(10, 8), sharex=True, height_ratios=(3, 2, 1), layout="constrained"
    )
    figure.suptitle(title)
    at = [one.at_s for one in timeline]
    _answers(top, at, timeline)
    _latency(middle, at, timeline, objective_ms)
    _replicas(bottom, looks, started_s)
    bottom.set_xlabel("seconds")
    bottom.set_xlim(0, len(timeline))
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _answers(axes: Axes, at: Sequence[int], timeline: Sequence[Second]) -> None:
    layers = {name: np.zeros(len(timeline)) for name in COLORS}
    for index, one in enumerate(timeline):
        layers["full"][index], layers["refused"][index] = one.full, one.refused
        layers["failed"][index] = one.failed
        for reason, number in one.degraded.items():
            layers[reason if reason in COLORS else "other"][index] += number
    shown = {name: counts for name, counts in layers.items() if counts.any()}
    colors = [COLORS[name] for name in shown]
    axes.stackplot(at, *shown.values(), labels=shown, colors=colors, step="post")
    axes.set_ylabel("requests per second")
    axes.legend(loc="upper right", fontsize="small")


def _latency(
    axes: Axes, at: Sequence[int], timeline: Sequence[Second], objective_ms: float
) -> None:
    for name, style in (("p50_ms", "-"), ("p99_ms", "-")):
        values = [getattr(one, name) for one in timeline]
        drawn = np.asarray([np.nan if value is None else value for value in values])
        axes.plot(at, drawn, style, label=name.removesuffix("_ms"))
    axes.axhline(objective_ms, color="#d1603d", linestyle="--", label="objective")
    axes.set_ylabel("latency, ms")
    axes.set_ylim(0, HEADROOM * max([objective_ms, *(one.p99_ms or 0 for one in timeline)]))
    axes.legend(loc="upper right", fontsize="small", ncols=3)


def _replicas(axes: Axes, looks: Sequence[Look], started_s: float) -> None:
    at = [look.at_s - started_s for look in looks]
    running = np.asarray([look.running for look in looks])
    starting = np.asarray([look.starting for look in looks])
    axes.step(at, running, where="post", label="ready")
    axes.step(at, running + starting, where="post", linestyle=":", label="asked for")
    axes.set_ylabel("replicas")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(bottom=0)
    axes.legend(loc="upper right", fontsize="small", ncols=2)
