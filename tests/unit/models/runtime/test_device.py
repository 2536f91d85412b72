"""Programs on another device: nothing of them stays behind."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from features.examples import Examples
from models.config import RankerConfig
from models.export import export_ranker
from models.ranker import ITEM_INPUTS, USER_INPUTS, Ranker
from models.runtime.device import DevicePrograms
from models.runtime.programs import ExportedPrograms, Program
from tests.toy_ranking import toy_examples
from train.impressions import Impressions

NAMES = ("ranker_items", "ranker_batch")
REQUESTS, CANDIDATES = 3, 5
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def inputs(examples: Examples) -> Tensors:
    batch = Impressions(examples, "test").batch(np.arange(REQUESTS * CANDIDATES))
    return {name: torch.from_numpy(array) for name, array in batch.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, examples: Examples, inputs: Tensors) -> Path:
    """A ranker's exported programs."""
    torch.manual_seed(3)
    ranker = Ranker(RankerConfig(), examples.schema)
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    path = tmp_path_factory.mktemp("programs")
    export_ranker(ranker, inputs, path)
    return path


def opened(folder: Path, kind: str, name: str) -> Program:
    programs = DevicePrograms(ExportedPrograms(), torch.device(kind), NAMES)
    return programs.open(folder / f"{name}.pt2", "")


def several(inputs: Tensors) -> tuple[Tensors, Tensors]:
    users = {name: inputs[name][:REQUESTS] for name in USER_INPUTS}
    shape = REQUESTS, CANDIDATES
    items = {name: inputs[name].reshape(*shape, *inputs[name].shape[1:]) for name in ITEM_INPUTS}
    return users, items


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_a_device_computes_what_the_host_does(folder: Path, inputs: Tensors, kind: str) -> None:
    exported = torch.export.load(folder / "ranker_batch.pt2").module()
    with torch.inference_mode():
        found = opened(folder, kind, "ranker_batch")(*several(inputs))
        assert found.device.type == kind
        torch.testing.assert_close(found.cpu(), exported(*several(inputs)), rtol=1e-4, atol=1e-5)


def test_inputs_are_copied_to_where_all_of_the_program_is(folder: Path, inputs: Tensors) -> None:
    # The device "meta" computes shapes alone, and refuses tensors of another one as a GPU does.
    found = opened(folder, "meta", "ranker_batch")(*several(inputs))
    assert found.device.type == "meta"
    assert found.shape[:2] == (REQUESTS, CANDIDATES)


def test_a_state_of_the_host_goes_on_on_the_device(folder: Path, inputs: Tensors) -> None:
    users, items = several(inputs)
    user_side = opened(folder, "meta", "ranker_user")
    state = user_side({name: tensor[:1] for name, tensor in users.items()})
    assert {part.device.type for part in state} == {"cpu"}
    found = opened(folder, "meta", "ranker_items")(
        state, {name: tensor[0] for name, tensor in items.items()}
    )
    assert found.device.type == "meta"
