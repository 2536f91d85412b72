"""The models that can be trained, by name."""

from collections.abc import Callable

import torch

from features.examples import Examples
from train.config import ModelName, ModelTraining, TrainSettings
from train.objective import Trainee
from train.ranking import RankingTrainee
from train.retrieval import RetrievalTrainee

TRAINEES: dict[ModelName, Callable[[TrainSettings, Examples], Trainee]] = {
    "retrieval": RetrievalTrainee,
    "ranking": RankingTrainee,
}


def training_of(settings: TrainSettings, model: ModelName) -> ModelTraining:
    """Return a model's `[train.<model>]` section."""
    return {"retrieval": settings.train.retrieval, "ranking": settings.train.ranking}[model]


def build_trainee(settings: TrainSettings, model: ModelName, examples: Examples) -> Trainee:
    """Build a model with the initial weights that its seed gives."""
    torch.manual_seed(training_of(settings, model).seed)
    return TRAINEES[model](settings, examples)
