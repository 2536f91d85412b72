"""The ranker's loss: masked, weighted, and least at the right prediction."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from models.config import RankerConfig
from models.heads import TaskHeads
from models.ranker import Ranker
from models.task_loss import RankerLoss
from tests.toy_ranking import toy_examples, toy_schema
from train.impressions import Impressions

SCHEMA = toy_schema()


class Fixed(torch.nn.Module):
    """Stands in for the ranker: the batch holds its outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = TaskHeads(SCHEMA, 4)

    def shared(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the outputs."""
        return batch["outputs"]

    def outputs(self, shared: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return them again."""
        return shared

    def lengths(self, item_numbers: torch.Tensor) -> torch.Tensor:
        """Return unknown durations."""
        return item_numbers[..., 0]


def loss_of(
    outputs: torch.Tensor, labels: torch.Tensor, weights: Sequence[float] | None = None
) -> tuple[torch.Tensor, dict[str, float]]:
    batch = {"outputs": outputs, "labels": labels, "item_numbers": torch.zeros(len(labels), 1)}
    loss, parts = RankerLoss(Fixed(), SCHEMA, weights=weights).eval()(batch)
    return loss, {name: float(part) for name, part in parts.items()}


def test_binary_tasks_use_the_cross_entropy_and_weights_sum_up() -> None:
    outputs = torch.tensor([[0.3, -1.0, 2.0], [-0.2, 0.5, 1.0]])
    labels = torch.tensor([[1.0, 0.0, 9.0], [0.0, 1.0, 0.0]])
    loss, parts = loss_of(outputs, labels)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        outputs[:, :2], labels[:, :2], reduction="none"
    ).mean(0)
    assert parts["click"] == pytest.approx(float(expected[0]))
    assert parts["like"] == pytest.approx(float(expected[1]))
    weighted = parts["click"] + 0.5 * parts["like"] + 0.1 * parts["watch_time"]
    assert float(loss) == pytest.approx(weighted)


def test_missing_labels_neither_count_nor_pull() -> None:
    outputs = torch.randn(3, 3, requires_grad=True)
    labels = torch.tensor([[1.0, math.nan, 5.0], [math.nan, 0.0, math.nan], [math.nan] * 3])
    loss, parts = loss_of(outputs, labels)
    loss.backward()
    assert outputs.grad is not None
    assert not outputs.grad[labels.isnan()].any()
    assert outputs.grad[~labels.isnan()].all()
    alone = torch.nn.functional.softplus(-outputs[0, 0])
    assert parts["click"] == pytest.approx(float(alone.detach()))


def test_a_batch_without_labels_costs_nothing() -> None:
    loss, _ = loss_of(torch.randn(2, 3), torch.full((2, 3), math.nan))
    assert float(loss) == 0.0


def test_the_watch_time_loss_is_half_the_squared_error_of_log_seconds() -> None:
    outputs = torch.tensor([[0.0, 0.0, 1.5], [0.0, 0.0, 2.0]])
    labels = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 59.0]])
    expected = (1.5**2 + (2.0 - math.log(60.0)) ** 2) / 4
    assert loss_of(outputs, labels)[1]["watch_time"] == pytest.approx(expected)


def test_the_tasks_weigh_what_training_says() -> None:
    loss, parts = loss_of(torch.randn(4, 3), torch.ones(4, 3), weights=[2.0, 0.0, 0.0])
    assert float(loss) == pytest.approx(2 * parts["click"])


@pytest.mark.parametrize("weighting", ["fixed", "uncertainty", "gradnorm"])
@pytest.mark.parametrize("number_dim", [0, 4])
def test_every_weight_gets_a_gradient(tmp_path: Path, weighting: str, number_dim: int) -> None:
    examples = toy_examples(tmp_path)
    ranker = Ranker(RankerConfig(number_dim=number_dim), examples.schema)
    model = RankerLoss(ranker, examples.schema, weighting)
    with torch.no_grad():
        model.ranker.heads.weight.fill_(0.1)
    batch = Impressions(examples, "train").batch(np.arange(64))
    loss, _ = model({name: torch.from_numpy(array) for name, array in batch.items()})
    loss.backward()
    assert [n for n, p in model.named_parameters() if p.numel() and p.grad is None] == []
