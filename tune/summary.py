"""What came of a sweep, as a table for people."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from tune.result import Manifest
from tune.space import short_names
from tune.sweep import Sweep
from tune.table import cell

MAX_ROWS = 10


def summary(sweep: Sweep, manifest: Manifest) -> Table:
    """Return the best trials beside the config as it was."""
    keys = [parameter.key for parameter in sweep.space.parameters]
    names = short_names(keys)
    table = Table(title=_title(manifest), title_justify="left", box=SIMPLE_HEAD)
    for name in ("trial", "epochs", manifest["monitor"]):
        table.add_column(name, justify="right", no_wrap=True)
    for key in keys:
        table.add_column(names[key], justify="right")
    for trial in _shown(sweep, manifest):
        table.add_row(
            _name(manifest, trial),
            str(trial["epochs"]),
            f"{trial['value']:.4f}",
            *(cell(trial["values"].get(key)) for key in keys),
        )
    return table


def _shown(sweep: Sweep, manifest: Manifest) -> list[Mapping[str, Any]]:
    judged = [trial for trial in manifest["trials"] if trial["value"] is not None]
    ranked = sorted(judged, key=lambda trial: -sweep.sign * trial["value"])
    shown, default = ranked[:MAX_ROWS], manifest["default"]
    if default is not None and default["value"] is not None and default not in shown:
        shown.append(default)
    return shown


def _name(manifest: Manifest, trial: Mapping[str, Any]) -> str:
    default = manifest["default"]
    is_default = default is not None and default["trial"] == trial["trial"]
    return f"{'the config as it was ' if is_default else ''}{trial['trial']}"


def _title(manifest: Manifest) -> str:
    trials = manifest["trials"]
    epochs = sum(trial["epochs"] for trial in trials)
    counts = {s: sum(t["status"] == s for t in trials) for s in ("done", "stopped", "failed")}
    said = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    return (
        f"sweep of {manifest['model']} on validation: {len(trials)} trials ({said}), "
        f"{epochs} epochs, {manifest['seconds']:.0f} s"
    )
