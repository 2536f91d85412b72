"""The result of a sweep as an artifact: the best config, every trial, a picture."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from cluster.errors import InputError
from cluster.storage import MANIFEST
from train.figures import without_nan
from tune.outcome import Outcome, best_of, is_default
from tune.plot import plot
from tune.sweep import Sweep
from tune.toml import to_toml

BEST_TOML, BEST_JSON, PICTURE = "best.toml", "best.json", "sweep.png"

Manifest = dict[str, Any]


def publish(sweep: Sweep, outcomes: Sequence[Outcome], seconds: float) -> Manifest:
    """Write the artifact `tuned/<model>` and return its manifest.

    Raises:
        InputError: no trial came to a figure; it says why the first one failed.
    """
    best = best_of(outcomes, sweep.sign)
    if best is None:
        reasons = [outcome.reason for outcome in outcomes if outcome.reason]
        raise InputError(f"no trial came to an end: {reasons[0] if reasons else 'too little time'}")
    manifest = _facts(sweep, outcomes, best, seconds)
    values = sweep.values_of(best.drawn)
    with sweep.storage.publishing(sweep.artifact) as folder:
        (folder / BEST_TOML).write_text(_heading(sweep, best) + to_toml(values))
        (folder / BEST_JSON).write_text(json.dumps(values, indent=1) + "\n")
        (folder / PICTURE).write_bytes(plot(sweep, outcomes))
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1))
    return manifest


def _facts(sweep: Sweep, outcomes: Sequence[Outcome], best: Outcome, seconds: float) -> Manifest:
    default = next((o for o in outcomes if is_default(sweep, o)), None)
    return {
        "id": sweep.id,
        "recommender": sweep.settings.recommender,
        "model": sweep.model,
        "monitor": sweep.monitor,
        "mode": sweep.config.mode,
        "scheduler": sweep.config.scheduler,
        "search": sweep.config.search,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "default": default and _trial(default),
        "best": _trial(best),
        "trials": [_trial(outcome) for outcome in outcomes],
    }


def _trial(outcome: Outcome) -> dict[str, Any]:
    facts = {
        "trial": outcome.number,
        "status": outcome.status,
        "value": outcome.value,
        "epochs": len(outcome.curve),
        "best_epoch": outcome.best_epoch,
        "curve": list(outcome.curve),
        "seconds": round(outcome.seconds, 1),
        "values": outcome.values,
        "reason": outcome.reason,
    }
    cleaned: dict[str, Any] = without_nan(facts)
    return cleaned


def _heading(sweep: Sweep, best: Outcome) -> str:
    lines = [
        f"# {sweep.path.name} with the values of trial {best.number} of a sweep: "
        f"{sweep.monitor} {best.value:.4f} on validation.",
    ]
    if sweep.config.scheduler == "pbt":
        lines.append("# Its weights have seen other values before: trained anew, it may differ.")
    return "\n".join(lines) + "\n\n"
