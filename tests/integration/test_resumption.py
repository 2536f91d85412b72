"""The real models, interrupted and resumed, end with the weights of an uninterrupted training."""

from pathlib import Path
from typing import cast

import pytest
import torch
from pyarrow import fs

from cluster.config import load
from cluster.storage import Storage
from features.examples import Examples
from tests.conftest import TINY
from tests.linear import IDENTITY, Silence
from train.checkpoints import Checkpoints
from train.config import ModelName, TrainSettings
from train.loop import fit
from train.plain import PlainRuntime
from train.state import State
from train.trainees import build_trainee, training_of

pytestmark = pytest.mark.integration

OFTEN = ("train.retrieval.checkpoint_minutes=1e-5", "train.ranking.checkpoint_minutes=1e-5")
FEW = ("train.retrieval.epochs=2", "train.ranking.epochs=1")


class LostError(Exception):
    """Stands for a lost process."""


class LosingRuntime(PlainRuntime):
    """Dies right after its first checkpoint, in the middle of an epoch where there is one."""

    def report(self, figures: dict[str, float], state: State) -> None:
        """Report, then die."""
        super().report(figures, state)
        self.settle()
        raise LostError


@pytest.mark.parametrize("model", ["retrieval", "ranking"])
def test_an_interrupted_model_ends_as_an_uninterrupted_one(
    tiny_storage: Storage, tmp_path: Path, model: str
) -> None:
    name = cast(ModelName, model)
    settings = load(TrainSettings, TINY, (*OFTEN, *FEW))
    examples = Examples.open(tiny_storage)

    def trained(runtime: PlainRuntime) -> dict[str, torch.Tensor]:
        trainee = build_trainee(settings, name, examples)
        fit(trainee, training_of(settings, name), runtime)
        return trainee.model.state_dict()

    folders = (tmp_path / "whole", tmp_path / "broken")
    whole, broken = (Checkpoints(fs.LocalFileSystem(), str(f), IDENTITY) for f in folders)
    with pytest.raises(LostError):
        trained(LosingRuntime(broken, Silence()))
    resumed = trained(PlainRuntime(broken, Silence()))
    expected = trained(PlainRuntime(whole, Silence()))
    assert all(torch.equal(resumed[key], expected[key]) for key in expected)
