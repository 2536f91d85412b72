"""How well a ranker of lower precision has to rank, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.export import Dim

from cluster.errors import InputError
from features.examples import Examples
from models.export import save_program
from models.ranker import ITEM_INPUTS, USER_INPUTS
from retrieval.config import RankerPrecision
from retrieval.precision import (
    BATCH_PROGRAM,
    ITEMS_PROGRAM,
    USER_PROGRAM,
    auc,
    lower_precision,
    validation_inputs,
)
from tests.toy_ranking import toy_examples

BF16 = RankerPrecision(precision="bf16", max_auc_loss=0.05, checked_rows=60)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"))


class User(nn.Module):
    """Says nothing of the user."""

    def forward(self, user: dict[str, Tensor]) -> tuple[Tensor]:
        """Return the state."""
        return (user["user_numbers"].clone(),)


class Items(nn.Module):
    """Clicks follow the author; far from 0, bf16 does not tell one author from another."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        self.offset = offset
        self.layer = nn.Linear(1, 1)
        nn.init.ones_(self.layer.weight)
        nn.init.constant_(self.layer.bias, offset)

    def forward(self, state: tuple[Tensor], items: dict[str, Tensor]) -> Tensor:
        """Predict (n, 3)."""
        is_odd = (items["item_codes"][..., -1:] % 2).float()
        predictions = torch.sigmoid(self.layer(is_odd) - self.offset)
        return predictions.expand(*predictions.shape[:-1], 3)


class Both(nn.Module):
    """The same for several requests."""

    def __init__(self, items: Items) -> None:
        super().__init__()
        self.items = items

    def forward(self, users: dict[str, Tensor], items: dict[str, Tensor]) -> Tensor:
        """Predict (requests, n, 3)."""
        return self.items(User()(users), items)


def ranker_in(folder: Path, examples: Examples, offset: float) -> Path:
    """Write the programs of a bundle in the making."""
    inputs, _ = next(validation_inputs(examples, 10))
    pair = {name: torch.from_numpy(array[:2]) for name, array in inputs.items()}
    user = {name: pair[name][:1].clone() for name in USER_INPUTS}
    items = {name: pair[name] for name in ITEM_INPUTS}
    save_program(User(), (user,), None, folder / USER_PROGRAM)
    many = {name: {0: Dim("candidates")} for name in items}
    state = (user["user_numbers"],)
    save_program(Items(offset), (state, items), (({},), many), folder / ITEMS_PROGRAM)
    return folder


def with_batch(folder: Path, examples: Examples, offset: float) -> Path:
    """Add the program of several requests."""
    inputs, _ = next(validation_inputs(examples, 10))
    users = {name: torch.from_numpy(inputs[name][:2]) for name in USER_INPUTS}
    items = {name: torch.from_numpy(inputs[name][:2]).unsqueeze(1) for name in ITEM_INPUTS}
    requests = Dim("requests")
    shapes = tuple({name: {0: requests} for name in part} for part in (users, items))
    save_program(Both(Items(offset)), (users, items), shapes, folder / BATCH_PROGRAM)
    return folder


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_the_auc_is_the_share_of_ordered_pairs(rows: list[tuple[int, bool]]) -> None:
    scores = np.array([score for score, _ in rows], np.float32)
    labels = np.array([label for _, label in rows], np.bool_)
    signs = np.sign(scores[labels][:, None] - scores[~labels][None, :])
    found = auc(scores, labels)
    if signs.size:
        assert found == pytest.approx(((signs + 1) / 2).mean())
    else:
        assert np.isnan(found)


def test_evenly_spaced_impressions_judge(examples: Examples) -> None:
    sizes = [len(labels) for _, labels in validation_inputs(examples, 10)]
    every = [len(labels) for _, labels in validation_inputs(examples, 1_000_000)]
    assert 10 <= sum(sizes) < sum(every)


def test_a_ranker_that_loses_little_is_lowered(examples: Examples, tmp_path: Path) -> None:
    folder = ranker_in(tmp_path, examples, offset=0.0)
    facts = lower_precision(folder, examples, BF16)
    assert facts == {
        "precision": "bf16",
        "auc_lost": {"click": 0.0, "like": 0.0, "watch_time": 0.0},
    }
    program = torch.export.load(folder / ITEMS_PROGRAM)
    assert any(torch.bfloat16 in node.args for node in program.graph.nodes)


def test_a_ranker_that_loses_more_is_refused(examples: Examples, tmp_path: Path) -> None:
    folder = ranker_in(tmp_path, examples, offset=1000.0)
    before = (folder / ITEMS_PROGRAM).read_bytes()
    with pytest.raises(InputError, match=r"'bf16': loses 0\.\d+ of the AUC of 'click' on \d+ val"):
        lower_precision(folder, examples, BF16)
    assert (folder / ITEMS_PROGRAM).read_bytes() == before


def test_the_program_of_several_requests_is_lowered_and_judged_too(
    examples: Examples, tmp_path: Path
) -> None:
    folder = with_batch(ranker_in(tmp_path, examples, offset=0.0), examples, offset=0.0)
    assert lower_precision(folder, examples, BF16)["precision"] == "bf16"
    program = torch.export.load(folder / BATCH_PROGRAM)
    assert any(torch.bfloat16 in node.args for node in program.graph.nodes)
    with_batch(ranker_in(tmp_path, examples, offset=0.0), examples, offset=1000.0)
    with pytest.raises(InputError, match="of the AUC of 'click'"):
        lower_precision(folder, examples, BF16)


def test_fp32_and_a_bundle_without_a_ranker_are_left_as_they_are(
    examples: Examples, tmp_path: Path
) -> None:
    assert lower_precision(tmp_path, examples, BF16) == {"precision": "fp32"}
    folder = ranker_in(tmp_path, examples, offset=0.0)
    before = (folder / ITEMS_PROGRAM).read_bytes()
    assert lower_precision(folder, examples, RankerPrecision()) == {"precision": "fp32"}
    assert (folder / ITEMS_PROGRAM).read_bytes() == before
