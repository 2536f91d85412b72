"""A sweep: one config, the space around it, and where its trials keep what they need."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config import checked
from cluster.errors import ConfigError
from cluster.storage import Storage, content_hash
from features.examples import Examples
from train.batch_size import sized
from train.checkpoints import Checkpoints
from train.config import ModelName, TrainSettings
from train.identity import Identity, identity
from train.trainees import training_of
from tune.config import TuneConfig, TuneSettings
from tune.figures import monitor_of
from tune.parameter import Raw
from tune.space import Space, applied

CHANGEABLE = {"concurrent_trials"}
"""Keys of `[tune]` with which a sweep that was interrupted may go on."""


@dataclass(frozen=True)
class Sweep:
    """What every trial has to know; picklable.

    Attributes:
        settings: of the command.
        values: the config as it is written, before defaults are filled in.
        path: of the config, for messages.
        storage: where the examples are and results go.
        space: what is varied.
        identity: of the model that the config trains without the sweep.
    """

    settings: TuneSettings
    values: Mapping[str, Any]
    path: Path
    storage: Storage
    space: Space
    identity: Identity

    @classmethod
    def of(
        cls, settings: TuneSettings, values: Mapping[str, Any], path: Path, examples: Examples
    ) -> "Sweep":
        """Plan a sweep over the prepared examples.

        Raises:
            ConfigError: the space's conditions depend on each other in a circle.
        """
        settings = sized(settings, examples)
        try:
            space = Space.of(settings)
        except ValueError as error:
            raise ConfigError(f"{path}: {error}") from None
        storage = Storage(settings.storage.root, settings.recommender)
        base = identity(settings, settings.tune.model, examples)
        return cls(settings, values, path, storage, space, base)

    @property
    def config(self) -> TuneConfig:
        """The section `[tune]`."""
        return self.settings.tune

    @property
    def model(self) -> ModelName:
        """Which model is trained."""
        return self.config.model

    @property
    def monitor(self) -> str:
        """The validation figure to improve."""
        return self.config.monitor or monitor_of(self.settings, self.model)

    @property
    def sign(self) -> float:
        """What makes a higher figure the better one."""
        return self.config.sign

    @property
    def epochs(self) -> int:
        """The most epochs that a trial may take."""
        planned = training_of(self.settings, self.model).epochs
        parameter = self.config.space.get(f"train.{self.model}.epochs")
        return planned if parameter is None else max(planned, *map(int, parameter.ends))

    @property
    def id(self) -> str:
        """The id of everything that decides how the sweep goes."""
        return content_hash([self.identity, self.config.model_dump(exclude=CHANGEABLE)])

    @property
    def artifact(self) -> str:
        """The artifact's name in the storage."""
        return f"tuned/{self.model}"

    @property
    def run(self) -> str:
        """The name of the folder with the trials' state."""
        return f"runs/tune-{self.model}/{self.id}"

    def settings_of(self, drawn: Mapping[str, Raw]) -> TrainSettings:
        """Return what `python -m train` would read for a trial.

        Raises:
            ConfigError: the sections refuse the values together.
        """
        return checked(TrainSettings, self.values_of(drawn), self.path)

    def values_of(self, drawn: Mapping[str, Raw]) -> dict[str, Any]:
        """Return a trial's config as it would be written."""
        values = applied(self.values, self.space.values(drawn))
        return {name: value for name, value in values.items() if name != "tune"}

    def checkpoints(self, trial: str) -> Checkpoints:
        """Return a trial's checkpoints, whatever values it has at the moment."""
        name = f"{self.run}/checkpoints/{trial}"
        return Checkpoints.of(self.storage, name, {"sweep": self.id})

    def forget_runs(self) -> None:
        """Drop the state of this model's sweeps, finished or not."""
        Checkpoints.of(self.storage, f"runs/tune-{self.model}", {}).clear()
