"""The ways to predict watch times, by the name that `[models.ranker] watch_time` gives."""

from collections.abc import Callable
from typing import Literal

from torch import nn

from models.watch_time.duration_quantiles import DurationQuantiles
from models.watch_time.log_seconds import LogSeconds
from models.watch_time.thresholds import Thresholds
from models.watch_time.weighted_logistic import WeightedLogistic

WatchTimeName = Literal["log", "weighted_logistic", "duration_quantiles", "thresholds"]

OBJECTIVES: dict[WatchTimeName, Callable[[float], nn.Module]] = {
    "log": LogSeconds,
    "weighted_logistic": WeightedLogistic,
    "duration_quantiles": DurationQuantiles,
    "thresholds": Thresholds,
}
