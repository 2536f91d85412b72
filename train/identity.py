"""What a trained model is made from: its identity decides whether it is up to date."""

import json
from typing import Any

from cluster.storage import content_hash
from features.examples import Examples
from train.batch_size import sized
from train.config import ModelName, TrainSettings

FORMAT = "1"
"""Of the artifact `trained/<model>`; another one is made anew."""
TIMING = {"checkpoint_minutes"}

Identity = dict[str, str]


def identity(settings: TrainSettings, model: ModelName, examples: Examples) -> Identity:
    """Return everything that the trained weights depend on, one line per key.

    Several workers follow the one process that takes all their batches as one: its identity is
    theirs, and a training goes on with any number of workers that makes the same whole batch.
    """
    settings = sized(settings, examples)
    sections = {
        "retrieval": {
            "models.two_tower": settings.models.two_tower.model_dump(mode="json"),
            "train.retrieval": _training(settings, model),
            "retrieval": settings.retrieval.model_dump(mode="json"),
        },
        "ranking": {
            "models.ranker": settings.models.ranker.model_dump(mode="json"),
            "train.ranking": _training(settings, model),
            "tasks": {task.name: task.model_dump(mode="json") for task in settings.tasks},
        },
    }[model]
    return {
        "format": FORMAT,
        "model": model,
        "examples": examples.manifest["id"],
        "fingerprint": examples.schema.fingerprint,
        "train.num_workers": "1",
        **_flat(sections),
    }


def trained_id(identity: Identity) -> str:
    """Return the id of the model that is trained from this."""
    return content_hash(identity)


def difference(theirs: Identity, ours: Identity) -> str | None:
    """Say in which key two identities differ; None where they do not."""
    for key in sorted(ours.keys() | theirs.keys()):
        if theirs.get(key) != ours.get(key):
            of_all = " of all workers" if key.endswith(".batch_size") else ""
            return f"{key}{of_all} is {theirs.get(key)!r}, not {ours.get(key)!r}"
    return None


def _training(settings: TrainSettings, model: ModelName) -> dict[str, Any]:
    training = {"retrieval": settings.train.retrieval, "ranking": settings.train.ranking}[model]
    assert training.batch_size is not None
    whole = training.batch_size * max(settings.train.num_workers, 1)
    return {**training.model_dump(mode="json", exclude=TIMING), "batch_size": whole}


def _flat(sections: dict[str, dict[str, Any]]) -> Identity:
    return {
        f"{section}.{key}": json.dumps(value)
        for section, values in sections.items()
        for key, value in values.items()
    }
