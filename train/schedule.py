"""The learning rate over a training: warm-up, then constant or falling by a cosine."""

import math

from train.config import ModelTraining


def learning_rate(training: ModelTraining, progress: float) -> float:
    """Return the rate of the step that `progress` (0 to 1, over all planned epochs) leads to."""
    peak = training.learning_rate
    if progress < training.warm_up:
        return peak * max(progress / training.warm_up, 0.01)
    if training.decay == "none":
        return peak
    left = (1.0 - min(progress, 1.0)) / (1.0 - training.warm_up)
    return peak * (1.0 - math.cos(math.pi * left)) / 2.0
