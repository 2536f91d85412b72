"""The mixture of experts: who sees whom, and that batched experts equal single ones."""

import pytest
import torch

from models.mixture import ExpertMixture

WIDTH, TASKS, EXPERTS, OUT = 6, 3, 2, 4


def mixture(kind: str) -> ExpertMixture:
    torch.manual_seed(0)
    return ExpertMixture(
        WIDTH, (5, OUT), experts=EXPERTS, tasks=TASKS, kind=kind, dropout=0.0
    ).eval()


def outputs_of_experts(model: ExpertMixture, inputs: torch.Tensor) -> torch.Tensor:
    """Run every expert alone: (experts, OUT)."""
    outputs = []
    for expert in range(model.experts):
        hidden = inputs
        for layer in model.layers:
            hidden = torch.relu(hidden @ layer.weight[expert] + layer.bias[expert])
        outputs.append(hidden)
    return torch.stack(outputs)


@pytest.mark.parametrize(("kind", "experts"), [("shared", 2), ("mmoe", 2), ("ple", 8)])
def test_every_task_gets_a_convex_mixture_of_the_experts_it_sees(kind: str, experts: int) -> None:
    model, inputs = mixture(kind), torch.randn(WIDTH)
    alone = outputs_of_experts(model, inputs)
    assert len(alone) == experts
    mixed = model(inputs)
    for task in range(TASKS):
        if model.gates is None:
            expected = alone.mean(0)
        else:
            scores = model.gates(inputs).view(TASKS, experts)[task] + model.mask[task]
            expected = torch.softmax(scores, -1) @ alone
        torch.testing.assert_close(mixed[task], expected)


def test_ple_hides_a_task_s_own_experts_from_the_others() -> None:
    model, inputs = mixture("ple"), torch.randn(5, WIDTH)
    before = model(inputs)
    with torch.no_grad():
        model.layers[-1].bias[EXPERTS : 2 * EXPERTS] += 1.0  # the first task's own
    after = model(inputs)
    assert not torch.allclose(before[:, 0], after[:, 0])
    torch.testing.assert_close(before[:, 1:], after[:, 1:])
