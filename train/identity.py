"""What a trained model is made from: its identity decides whether it is up to date."""

import json
from typing import Any

from cluster.storage import content_hash
from features.examples import Examples
from train.config import ModelName, TrainSettings

FORMAT = "1"
"""Of the artifact `trained/<model>`; another one is made anew."""
TIMING = {"checkpoint_minutes"}

Identity = dict[str, str]


def identity(settings: TrainSettings, model: ModelName, examples: Examples) -> Identity:
    """Return everything that the trained weights depend on, one line per key."""
    sections = {
        "retrieval": {
            "models.two_tower": settings.models.two_tower.model_dump(mode="json"),
            "train.retrieval": settings.train.retrieval.model_dump(mode="json", exclude=TIMING),
            "retrieval": settings.retrieval.model_dump(mode="json"),
        },
        "ranking": {
            "models.ranker": settings.models.ranker.model_dump(mode="json"),
            "train.ranking": settings.train.ranking.model_dump(mode="json", exclude=TIMING),
            "tasks": {task.name: task.model_dump(mode="json") for task in settings.tasks},
        },
    }[model]
    return {
        "format": FORMAT,
        "model": model,
        "examples": examples.manifest["id"],
        "fingerprint": examples.schema.fingerprint,
        "train.num_workers": str(max(settings.train.num_workers, 1)),
        **_flat(sections),
    }


def trained_id(identity: Identity) -> str:
    """Return the id of the model that is trained from this."""
    return content_hash(identity)


def _flat(sections: dict[str, dict[str, Any]]) -> Identity:
    return {
        f"{section}.{key}": json.dumps(value)
        for section, values in sections.items()
        for key, value in values.items()
    }
