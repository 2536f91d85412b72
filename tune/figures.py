"""The validation figures by which a sweep can judge, known before anything is trained."""

from typing import get_args

from train.config import ModelName, RetrievalTraining, TrainSettings


def figures_of(settings: TrainSettings, model: ModelName) -> list[str]:
    """Return the names of a model's validation figures."""
    if model == "retrieval":
        annotation = RetrievalTraining.model_fields["monitor"].annotation
        return list(get_args(annotation))
    names = {"binary": "auc", "watch_time": "xauc"}
    own = [f"{names[task.kind]}_{task.name}" for task in settings.tasks]
    return [*sorted({name.partition("_")[0] for name in own}), *own]


def monitor_of(settings: TrainSettings, model: ModelName) -> str:
    """Return the figure that a model's early stopping watches."""
    if model == "retrieval":
        return settings.train.retrieval.monitor
    return figures_of(settings, model)[0]
