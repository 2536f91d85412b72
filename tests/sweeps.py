"""Sweeps of the tiny world for tests: settings by their TOML, trials as Ray Tune describes them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.config import checked, read
from cluster.storage import Storage
from tests.conftest import TINY
from tune.config import TuneSettings
from tune.space import Space
from tune.sweep import Sweep

SPACE = """
[models.ranker]
mixture = "mmoe"
experts = 3

[tune]
model = "ranking"
trials = 3

[tune.space."train.ranking.learning_rate"]
low = 1e-4
high = 1e-2
log = true

[tune.space."models.ranker.mixture"]
choice = ["shared", "mmoe"]

[tune.space."models.ranker.experts"]
low = 2
high = 4
when = { "models.ranker.mixture" = "mmoe" }
"""


def sweep_of(text: str, root: Path, *overrides: str) -> Sweep:
    """Plan a sweep of the tiny world with more TOML and with overrides."""
    path = root / "tiny.toml"
    path.write_text(TINY.read_text() + text)
    values = read(path, overrides)
    settings = checked(TuneSettings, values, path)
    storage = Storage(str(root), settings.recommender)
    return Sweep(settings, values, path, storage, Space.of(settings), {"model": "tiny"})


@dataclass
class FakeTrial:
    """What the project reads of a `ray.tune.experiment.Trial`."""

    config: dict[str, Any]
    status: str = "RUNNING"
    last_result: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None

    def get_error(self) -> Exception | None:
        """Return why it failed."""
        return self.error


def standing(*curve: float, is_over: bool = False, sign: float = 1.0) -> dict[str, Any]:
    """Return what a trial reports whose best epoch is the highest of the curve."""
    best = max(range(len(curve)), key=lambda n: sign * curve[n])
    return {
        "score": sign * curve[best],
        "epoch": len(curve),
        "curve": list(curve),
        "best_epoch": best + 1,
        "is_over": is_over,
        "time_total_s": 2.0 * len(curve),
    }
