"""Placed tables against dense references: the same lookups, the same steps."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from models.embedding import SEEDED_ROWS, EmbeddingTable, deferred_tables
from models.tables.optimizer import Learning
from models.tables.placed import PlacedTables, placement_of
from tests.toy_tables import DIM, Tensors, TwoTables, batches
from tests.toy_tables import tables_of as weights

LOCAL = {"default": "local"}


def placed(learning: Learning, steps: list[Tensors]) -> Tensors:
    model = TwoTables()
    PlacedTables(model, LOCAL, learning)
    for batch in steps:
        model(batch).backward()
    return weights(model)


def dense(step: Callable[[nn.Module], None], steps: list[Tensors]) -> Tensors:
    """Train plain parameters; `step` sees the model with its dense gradients."""
    model = TwoTables()
    for batch in steps:
        model.zero_grad()
        model(batch).backward()
        step(model)
    return weights(model)


def assert_same(ours: Tensors, theirs: Tensors) -> None:
    for name in theirs:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adamw_is_the_dense_optimizer(weight_decay: float) -> None:
    model_steps: list[torch.optim.Optimizer] = []

    def step(model: nn.Module) -> None:
        if not model_steps:
            tables = [p for name, p in model.named_parameters() if "out" not in name]
            model_steps.append(torch.optim.AdamW(tables, lr=0.02, weight_decay=weight_decay))
        for parameter in model.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        model_steps[0].step()

    ours = placed(Learning("adamw", 0.02, weight_decay), batches())
    assert_same(ours, dense(step, batches()))


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_rowwise_adagrad_is_its_formula_on_summed_gradients(weight_decay: float) -> None:
    rate = 0.1
    squares: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(model: nn.Module) -> None:
        for name, weight in model.named_parameters():
            if "out" in name or weight.grad is None:
                continue
            mean = weight.grad.square().mean(1)
            squares[name] = squares.get(name, torch.zeros_like(mean)) + mean
            is_touched = (mean > 0)[:, None]
            scaled = weight.grad / (squares[name].sqrt() + 1e-8)[:, None]
            weight -= is_touched * rate * (scaled + weight_decay * weight)

    ours = placed(Learning("rowwise_adagrad", rate, weight_decay), batches())
    assert_same(ours, dense(step, batches()))


def test_rows_learn_once_per_backward_however_often_they_are_looked_up() -> None:
    model = TwoTables()
    tables = PlacedTables(model, LOCAL, Learning("adamw"))
    for number, batch in enumerate(batches(3), start=1):
        model(batch).backward()
        assert {float(state["step"]) for state in tables.state_dict().values()} == {number}


def test_a_lookup_under_no_grad_teaches_nothing() -> None:
    model = TwoTables()
    PlacedTables(model, LOCAL, Learning("rowwise_adagrad", 0.1))
    before = weights(model)
    with torch.no_grad():
        model(batches()[0])
    model.out(torch.ones(DIM)).sum().backward()
    assert all(torch.equal(before[name], now) for name, now in weights(model).items())


@pytest.mark.parametrize("optimizer", ["adamw", "rowwise_adagrad"])
def test_a_restored_state_goes_on_as_if_nothing_had_happened(optimizer: str) -> None:
    learning = Learning(optimizer, 0.05)  # type: ignore[arg-type]
    whole = placed(learning, batches())
    first = TwoTables()
    tables = PlacedTables(first, LOCAL, learning)
    for batch in batches()[:3]:
        first(batch).backward()
    second = TwoTables()
    restored = PlacedTables(second, LOCAL, learning)
    second.load_state_dict(first.state_dict())
    restored.load_state_dict(tables.state_dict())
    for batch in batches()[3:]:
        second(batch).backward()
    assert all(torch.equal(whole[name], now) for name, now in weights(second).items())


def test_the_learning_rate_is_that_of_the_step() -> None:
    model = TwoTables()
    tables = PlacedTables(model, LOCAL, Learning("rowwise_adagrad", 1.0))
    before = weights(model)
    tables.set_learning_rate(0.0)
    model(batches()[0]).backward()
    assert all(torch.equal(before[name], now) for name, now in weights(model).items())


def test_released_tables_are_plain_parameters_with_what_they_learnt() -> None:
    model = TwoTables()
    tables = PlacedTables(model, LOCAL, Learning("rowwise_adagrad", 0.1))
    model(batches()[0]).backward()
    learnt = weights(model)
    tables.release()
    model(batches()[1]).backward()
    assert model.items.weight.grad is not None
    assert all(torch.equal(learnt[name], now) for name, now in weights(model).items())


def test_bf16_gradients_are_summed_in_float32() -> None:
    model = TwoTables()
    PlacedTables(model, LOCAL, Learning("rowwise_adagrad", 0.1))
    before = model.items.weight.clone()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(batches()[0])
    loss.backward()
    assert model.items.weight.dtype == torch.float32
    assert not torch.equal(before, model.items.weight)


def test_any_part_of_a_table_has_the_initial_values_of_the_whole() -> None:
    table = EmbeddingTable(SEEDED_ROWS + 100, 2)
    for begin, end in (
        (0, 10),
        (5, SEEDED_ROWS + 3),
        (SEEDED_ROWS + 99, SEEDED_ROWS + 100),
        (4, 4),
    ):
        assert torch.equal(table.initial_rows(begin, end), table.weight[begin:end])
    assert 0.04 < float(table.weight.detach().std()) < 0.06


def test_deferred_tables_hold_nothing_until_they_are_placed() -> None:
    with deferred_tables():
        model = TwoTables()
    assert model.items.weight.is_meta
    PlacedTables(model, LOCAL, Learning())
    assert all(
        torch.equal(p, q) for p, q in zip(model.parameters(), TwoTables().parameters(), strict=True)
    )


def test_placements_name_tables_by_the_end_of_their_path() -> None:
    placements = {"default": "replicated", "ids": "row_sharded", "items.ids": "local"}
    assert placement_of("model.items.ids", placements) == "local"  # type: ignore[arg-type]
    assert placement_of("model.other.ids", placements) == "row_sharded"  # type: ignore[arg-type]
    assert placement_of("model.kids", placements) == "replicated"  # type: ignore[arg-type]
