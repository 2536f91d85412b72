"""The ranker: its two steps equal one, its programs equal it, its layers equal their formulas."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from features.examples import Examples
from features.rates import smoothed_rates
from features.schema import Schema
from models.config import RankerConfig
from models.export import export_ranker
from models.ranker import ITEM_INPUTS, USER_INPUTS, Ranker
from tests.toy_ranking import FEATURES, TASKS, toy_examples, toy_schema
from train.impressions import Impressions

Inputs = dict[str, torch.Tensor]
BARE = {"features": FEATURES[:1], "entities": (), "has_time": False}


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def inputs(examples: Examples) -> Inputs:
    return tensors_of(examples, 16)


def tensors_of(examples: Examples, n: int) -> Inputs:
    batch = Impressions(examples, "test").batch(np.arange(n))
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def perturbed(config: RankerConfig, schema: Schema) -> Ranker:
    """Return a ranker in evaluation mode whose zero-initialised weights are not zero."""
    torch.manual_seed(3)
    ranker = Ranker(config, schema).eval()
    with torch.no_grad():
        for parameter in ranker.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return ranker


def one_request(inputs: Inputs, row: int) -> tuple[Inputs, Inputs]:
    """Return one row's user inputs (1, ...) and every row's items (1, n, ...)."""
    user = {name: inputs[name][row : row + 1] for name in USER_INPUTS}
    return user, {name: inputs[name].unsqueeze(0) for name in ITEM_INPUTS}


@pytest.mark.parametrize("mixture", ["shared", "mmoe", "ple"])
@pytest.mark.parametrize("cross_layers", [0, 1, 3])
def test_one_user_step_and_many_items_equal_pairs(
    inputs: Inputs, mixture: str, cross_layers: int
) -> None:
    config = RankerConfig(mixture=mixture, cross_layers=cross_layers)
    ranker = perturbed(config, toy_schema())
    for row in (0, 5):
        user, items = one_request(inputs, row)
        stepped = ranker.item_side(ranker.user_side(user), items).squeeze(0)
        n = stepped.shape[0]
        repeated = {name: tensor.expand(n, *tensor.shape[1:]) for name, tensor in user.items()}
        pairs = ranker({**repeated, **{name: inputs[name] for name in ITEM_INPUTS}})
        torch.testing.assert_close(stepped, pairs, atol=1e-6, rtol=1e-6)


def test_an_untrained_ranker_predicts_the_sum_of_rate_logits(examples: Examples) -> None:
    schema = examples.schema
    test = Impressions(examples, "test")
    ranker = Ranker(RankerConfig(watch_time="log"), schema).eval()
    outputs = ranker(tensors_of(examples, 50)).detach().numpy()
    user = smoothed_rates(test.column("user_counts")[:50], schema).sum(1)
    item = smoothed_rates(test.column("item_counts")[:50, :1], schema).sum(1)
    rest = outputs - user - item
    np.testing.assert_allclose(rest, np.broadcast_to(rest[0], rest.shape), atol=1e-4)
    assert rest[0] == pytest.approx([math.log(0.4 / 0.6), math.log(0.1 / 0.9), 2.0], abs=1e-4)


def test_predictions_are_probabilities_and_seconds(inputs: Inputs) -> None:
    ranker = perturbed(RankerConfig(watch_time="log"), toy_schema())
    predicted, outputs = ranker.predict(inputs), ranker(inputs)
    torch.testing.assert_close(predicted[:, :2], torch.sigmoid(outputs[:, :2]))
    torch.testing.assert_close(predicted[:, 2], torch.expm1(outputs[:, 2].clamp(min=0)))


def test_padding_of_the_history_says_nothing(inputs: Inputs) -> None:
    ranker = perturbed(RankerConfig(), toy_schema())
    padding = inputs["history_gaps"] == 0
    assert padding.any()
    changed = inputs | {"history_codes": inputs["history_codes"].clone()}
    changed["history_codes"][padding] = 1
    torch.testing.assert_close(ranker(changed), ranker(inputs))


def test_an_empty_history_is_finite_in_value_and_gradient(inputs: Inputs) -> None:
    ranker = perturbed(RankerConfig(), toy_schema())
    empty = {name: torch.zeros_like(inputs[name]) for name in USER_INPUTS if "history" in name}
    outputs = ranker(inputs | empty)
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in ranker.parameters())


def test_the_history_and_the_order_of_its_events_matter(inputs: Inputs) -> None:
    ranker = perturbed(RankerConfig(), toy_schema())
    changed = inputs | {"history_codes": inputs["history_codes"].flip(1)}
    assert not torch.allclose(ranker(changed), ranker(inputs))


@pytest.mark.parametrize(
    ("changes", "config"),
    [
        ({}, {}),
        (BARE, {"watch_time": "duration_quantiles"}),
        ({"tasks": TASKS[2:], "base_rates": (2.0,)}, {"watch_time": "weighted_logistic"}),
        ({}, {"watch_time": "thresholds", "number_dim": 4}),
        ({}, {"watch_time": "duration_quantiles", "mixture": "ple"}),
    ],
)
def test_exported_programs_equal_the_ranker(
    changes: dict[str, object], config: dict[str, object], tmp_path: Path
) -> None:
    examples = toy_examples(tmp_path / "examples", schema=toy_schema(**changes))
    ranker = perturbed(RankerConfig.model_validate(config), examples.schema)
    export_ranker(ranker, tensors_of(examples, 1), tmp_path)
    user_program, items_program = (
        torch.export.load(tmp_path / f"{name}.pt2").module()
        for name in ("ranker_user", "ranker_items")
    )
    for n in (1, 2, 7, 50):
        inputs = tensors_of(examples, n)
        user, items = one_request(inputs, 0)
        state = user_program(user)
        predicted = items_program(state, {name: inputs[name] for name in ITEM_INPUTS})
        eager = ranker.item_side(ranker.user_side(user), items).squeeze(0)
        eager = ranker.predictions(eager, inputs)
        torch.testing.assert_close(predicted, eager, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("config", [{}, {"mixture": "mmoe", "cross_layers": 0, "number_dim": 0}])
def test_the_program_of_several_requests_equals_the_ranker(
    examples: Examples, config: dict[str, object], tmp_path: Path
) -> None:
    ranker = perturbed(RankerConfig.model_validate(config), examples.schema)
    export_ranker(ranker, tensors_of(examples, 1), tmp_path)
    program = torch.export.load(tmp_path / "ranker_batch.pt2").module()
    for requests, n in ((1, 1), (1, 5), (5, 1), (3, 4)):
        inputs = tensors_of(examples, requests * n)
        users = {name: inputs[name][:requests] for name in USER_INPUTS}
        items = {
            name: inputs[name].reshape(requests, n, *inputs[name].shape[1:]) for name in ITEM_INPUTS
        }
        predicted = program(users, items)
        for row in range(requests):
            state = ranker.user_side({name: users[name][row : row + 1] for name in users})
            own = {name: items[name][row : row + 1] for name in items}
            eager = ranker.predictions(ranker.item_side(state, own), own).squeeze(0)
            torch.testing.assert_close(predicted[row], eager, atol=1e-6, rtol=1e-5)


def test_exported_programs_hold_aten_operators_and_load_without_ours(
    examples: Examples, tmp_path: Path
) -> None:
    export_ranker(perturbed(RankerConfig(), examples.schema), tensors_of(examples, 1), tmp_path)
    code = """
import operator, sys, torch
for name in ("ranker_user", "ranker_items", "ranker_batch"):
    program = torch.export.load(f"{sys.argv[1]}/{name}.pt2")
    calls = {n.target for n in program.graph.nodes if n.op == "call_function"} - {operator.getitem}
    print([str(call) for call in calls if not str(call).startswith("aten.")])
assert "models" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["[]", "[]", "[]"]
