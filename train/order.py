"""An order: one model to train, judge on the test split, export and store as an artifact."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from cluster.storage import MANIFEST, Storage
from features.examples import Examples
from models.embedding import deferred_tables
from train.batch_size import sized
from train.checkpoints import Checkpoints
from train.config import ModelName, TrainSettings
from train.figures import without_nan
from train.identity import Identity, difference, identity, trained_id
from train.loop import fit
from train.memory_shortage import memory_shortage_told
from train.objective import Trainee
from train.position import Position
from train.progress import Phase, Progress
from train.runtime import Runtime
from train.trainees import build_trainee, training_of


@dataclass(frozen=True)
class Order:
    """What to train; picklable, so that workers can be handed it.

    Attributes:
        settings: of the command.
        model: which of the models.
        storage: where the examples are and the artifact goes.
        identity: of the model that comes out.
    """

    settings: TrainSettings
    model: ModelName
    storage: Storage
    identity: Identity = field(default_factory=dict)

    @classmethod
    def of(cls, settings: TrainSettings, model: ModelName, examples: Examples) -> "Order":
        """Order a model of the prepared examples."""
        storage = Storage(settings.storage.root, settings.recommender)
        settings = sized(settings, examples)
        return cls(settings, model, storage, identity(settings, model, examples))

    @property
    def id(self) -> str:
        """The id of the model that comes out."""
        return trained_id(self.identity)

    @property
    def artifact(self) -> str:
        """The artifact's name in the storage."""
        return f"trained/{self.model}"

    @property
    def run(self) -> str:
        """The name of the folder with the checkpoints."""
        return f"runs/{self.model}/{self.id}"

    @property
    def is_done(self) -> bool:
        """Whether the storage holds this very model."""
        manifest = self.storage.manifest(self.artifact)
        return manifest is not None and manifest["id"] == self.id

    def metrics(self) -> dict[str, Any]:
        """Return the figures of the model that the storage holds."""
        path = self.storage.fetch(self.artifact) / "metrics.json"
        metrics: dict[str, Any] = json.loads(path.read_text())
        return metrics

    def forget_runs(self) -> None:
        """Drop every checkpoint of this model's trainings."""
        Checkpoints.of(self.storage, f"runs/{self.model}", {}).clear()

    def interrupted(self) -> str | None:
        """Say why an interrupted training of this model cannot be gone on with, if it is so."""
        parent = f"runs/{self.model}"
        for name in (self.id, *self.storage.names(parent)):
            seal = Checkpoints.of(self.storage, f"{parent}/{name}", {}).newest_seal()
            if seal is not None:
                found = difference(seal.identity, self.identity)
                return f"{parent}/{name} is another training: {found}" if found else None
        return None

    def carry_out(self, runtime: Runtime) -> None:
        """Train, judge and export; called by every worker, rank 0 publishes the artifact.

        Raises:
            InputError: memory does not hold it.
        """
        with memory_shortage_told(self.settings, self.model):
            self._carry_out(runtime)

    def _carry_out(self, runtime: Runtime) -> None:
        examples = Examples.open(self.storage)
        with deferred_tables():
            trainee = build_trainee(self.settings, self.model, examples)
        training = training_of(self.settings, self.model)
        position = fit(trainee, training, runtime, self.settings.train.embedding_placement)
        if runtime.rank == 0:
            with self.storage.publishing(self.artifact) as folder:
                self._fill(folder, trainee, position, runtime)

    def _fill(self, folder: Path, trainee: Trainee, position: Position, runtime: Runtime) -> None:
        seconds = {"training": position.seconds}
        with _timed("evaluation", seconds, runtime):
            trainee.finish()
            metrics = trainee.evaluate(folder / f"{self.model}.parquet")
        with _timed("export", seconds, runtime):
            trainee.model.cpu()
            trainee.export(folder)
            torch.save(trainee.model.state_dict(), folder / "model.pt")
        _write(folder / "metrics.json", without_nan(metrics))
        _write(folder / "curves.json", position.curves)
        _write(folder / MANIFEST, self._facts(position, seconds))

    def _facts(self, position: Position, seconds: dict[str, float]) -> dict[str, Any]:
        return {
            "id": self.id,
            "model": self.model,
            "fingerprint": self.identity["fingerprint"],
            "examples": self.identity["examples"],
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "epochs": position.epoch,
            "best_epoch": position.best_epoch,
            "validation": position.best_value,
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
            "identity": self.identity,
        }


@contextmanager
def _timed(phase: Phase, seconds: dict[str, float], runtime: Runtime) -> Iterator[None]:
    runtime.listener.tell(Progress(phase=phase))
    started = time.monotonic()
    yield
    seconds[phase] = time.monotonic() - started


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1))
