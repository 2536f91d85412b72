"""What the runtime benchmark times computes the same thing."""

import pytest
import torch
from torch import Tensor

from benchmarks.rankers import Repeated, random_ranker, request_inputs
from features.examples import Examples
from models.ranker import BatchProgram, ItemsProgram, Ranker, UserProgram
from tests.toy_ranking import TASKS, toy_examples
from train.config import TrainSettings

NUM = 7


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def ranker(examples: Examples) -> Ranker:
    dataset = {"format": "parquet", "path": "unused"}
    settings = {"recommender": "toy", "dataset": dataset, "tasks": TASKS}
    return random_ranker(TrainSettings.model_validate(settings), examples)


@pytest.fixture(scope="module")
def once(examples: Examples, ranker: Ranker) -> Tensor:
    """What the ranker says with the user's side computed once."""
    user, items = request_inputs(examples, NUM)
    with torch.inference_mode():
        predictions: Tensor = ItemsProgram(ranker)(UserProgram(ranker)(user), items)
    return predictions


def test_the_users_side_for_every_candidate_changes_nothing(
    examples: Examples, ranker: Ranker, once: Tensor
) -> None:
    user, items = request_inputs(examples, NUM)
    many = {name: tensor.repeat_interleave(NUM, 0) for name, tensor in user.items()}
    with torch.inference_mode():
        torch.testing.assert_close(Repeated(ranker)(many, items), once, rtol=1e-5, atol=1e-6)


def test_requests_together_are_requests_one_by_one(
    examples: Examples, ranker: Ranker, once: Tensor
) -> None:
    user, items = request_inputs(examples, NUM)
    with torch.inference_mode():
        users = {name: tensor.repeat_interleave(3, 0) for name, tensor in user.items()}
        stacked = {name: tensor.expand(3, *tensor.shape) for name, tensor in items.items()}
        found = BatchProgram(ranker)(users, stacked)
    torch.testing.assert_close(found, once.expand(3, -1, -1), rtol=1e-5, atol=1e-6)


def test_random_weights_tell_candidates_apart(once: Tensor) -> None:
    assert once.shape[0] == NUM
    assert (once.std(0)[:2] > 0).all()


def test_the_longest_history_is_taken(examples: Examples) -> None:
    user, _ = request_inputs(examples, NUM)
    assert int((user["history_gaps"] > 0).sum()) == examples.schema.history_length
