"""Tables of several workers: any placement learns what one process learns."""

from typing import Any

import pytest
import torch
import torch.distributed as dist

from models.embedding import EmbeddingTable, deferred_tables
from models.tables.lookup import Bags
from models.tables.optimizer import Learning
from models.tables.placed import PlacedTables
from models.tables.routes import RowRouter, bound_of_rows, has_more_distinct
from models.tables.workers import Workers
from tests.gloo import run_workers
from tests.toy_tables import Tensors, TwoTables, batches, own_share, tables_of

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
PLACEMENTS: dict[str, dict[str, Any]] = {
    "replicated": {"default": "replicated"},
    "row_sharded": {"default": "row_sharded"},
    "both": {"default": "replicated", "items": "row_sharded"},
}
LEARNINGS = {
    "adamw": Learning("adamw", 0.02, 0.1),
    "rowwise_adagrad": Learning("rowwise_adagrad", 0.1, 0.1),
}
CASES = [(placement, optimizer) for placement in PLACEMENTS for optimizer in LEARNINGS]


def trained(placement: str, optimizer: str) -> tuple[Tensors, Tensors, list[float]]:
    """Train a share of the batches; return the plain tables, the states and the losses."""
    model, workers = TwoTables(), Workers.connected()
    tables = PlacedTables(model, PLACEMENTS[placement], LEARNINGS[optimizer], workers=workers)
    losses = []
    for batch in batches():
        loss = model(own_share(batch)) * workers.num_workers
        loss.backward()
        losses.append(float(loss.detach()))
    states = {
        f"{name}.{key}": tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        for name, state in tables.state_dict().items()
        for key, tensor in state.items()
    }
    tables.release()
    return tables_of(model), states, losses


def trained_alone(optimizer: str) -> tuple[Tensors, Tensors, list[float]]:
    model = TwoTables()
    tables = PlacedTables(model, {"default": "row_sharded"}, LEARNINGS[optimizer])
    losses = []
    for batch in batches():
        loss = model(batch)
        loss.backward()
        losses.append(float(loss.detach()))
    states = {f"{n}.{k}": t for n, state in tables.state_dict().items() for k, t in state.items()}
    return tables_of(model), states, losses


def shards() -> dict[str, Any]:
    """Place deferred tables; return what this worker holds."""
    with deferred_tables():
        model = TwoTables()
    workers = Workers.connected()
    tables = PlacedTables(model, PLACEMENTS["row_sharded"], LEARNINGS["adamw"], workers=workers)
    local = model.items.weight.to_local()
    states = tables.state_dict()["items"]
    full = model.state_dict()["items.weight"].full_tensor()
    with torch.no_grad():
        looked_up = model.items.rows(torch.arange(5))
    return {
        "local": local,
        "full": full,
        "looked_up": looked_up,
        "moment": states["exp_avg"].to_local(),
        "step": states["step"],
        "names": tables.parameter_names(model),
        "is_sharded": tables.is_sharded,
    }


def both_ways() -> list[tuple[str, Any]]:
    """Pool few bags of many ids, then many bags of one id each, and compare with a plain table."""
    torch.manual_seed(0)
    table = EmbeddingTable(1000, 8)
    plain = EmbeddingTable(1000, 8)
    plain.load_state_dict(table.state_dict())
    plain.requires_grad_(False)
    PlacedTables(table, {"default": "row_sharded"}, Learning(), workers=Workers.connected())
    generator = torch.Generator().manual_seed(dist.get_rank())
    found = []
    for bags, size in ((3, 200), (300, 1)):
        ids = torch.randint(0, 1000, (bags, size), generator=generator)
        mask = torch.rand(bags, size, generator=generator) < 0.7
        route = RowRouter(1000, Workers.connected()).bags(Bags.of(ids, mask, torch.float32), 8)
        difference = (table.pooled(ids, mask) - plain.pooled(ids, mask)).abs().max()
        found.append((type(route).__name__, float(difference.detach())))
    return found


def packed() -> tuple[Tensors, Tensors]:
    """Look two tables up, all at once and one by one, each worker as often as it likes."""
    torch.manual_seed(0)
    tables = torch.nn.ModuleList(EmbeddingTable(rows, dim) for rows, dim in ((500, 8), (7, 3)))
    PlacedTables(tables, {"default": "row_sharded"}, Learning(), workers=Workers.connected())
    first, second = tables
    rank = dist.get_rank()
    generator = torch.Generator().manual_seed(rank)
    ids = torch.randint(0, 500, (3 + rank, 200), generator=generator)
    asked = {
        "pooled": first.ask_pooled(ids, ids % 3 > 0),
        "rows": first.ask_rows(ids[:, 5]),
        "others": second.ask_rows(ids % 7),
        "none": second.ask_rows(ids[:0, 0]),
    }
    together = {name: asked[name].take().detach() for name in reversed(asked)}
    return together, {
        "pooled": first.pooled(ids, ids % 3 > 0).detach(),
        "rows": first.rows(ids[:, 5]).detach(),
        "others": second.rows(ids % 7).detach(),
        "none": second.rows(ids[:0, 0]).detach(),
    }


def local_with_company() -> str:
    try:
        PlacedTables(TwoTables(), {"default": "local"}, Learning(), workers=Workers.connected())
    except ValueError as error:
        return str(error)
    return "no error"


def everything() -> dict[Any, Any]:
    """Do all that the tests look at, in one start of the workers."""
    answers: dict[Any, Any] = {case: trained(*case) for case in CASES}
    return answers | {job: job() for job in (shards, both_ways, packed, local_with_company)}


@pytest.fixture(scope="module", params=[2, 3])
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    return run_workers(everything, request.param, tmp_path_factory.mktemp("workers") / "run")


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_any_placement_learns_what_one_process_learns(
    answers: list[Any], case: tuple[str, str]
) -> None:
    weights, states, losses = trained_alone(case[1])
    ours, our_states, _ = answers[0][case]
    for name, weight in weights.items():
        torch.testing.assert_close(ours[name], weight, **TOLERANCE)
    for name, state in states.items():
        torch.testing.assert_close(our_states[name], state, **TOLERANCE)
    means = [sum(step) / len(answers) for step in zip(*(a[case][2] for a in answers), strict=True)]
    assert means == pytest.approx(losses, rel=1e-5)


@pytest.mark.parametrize("optimizer", LEARNINGS)
def test_copies_stay_the_same_bit_by_bit(answers: list[Any], optimizer: str) -> None:
    first, *others = (answer["replicated", optimizer][0] for answer in answers)
    assert all(torch.equal(first[name], other[name]) for other in others for name in first)


def test_a_worker_holds_its_rows_only(answers: list[Any]) -> None:
    whole = TwoTables().items.weight.detach()
    found = [answer[shards] for answer in answers]
    assert torch.equal(torch.cat([shard["local"] for shard in found]), whole)
    assert len(found[0]["local"]) == -(-len(whole) // len(answers))
    for shard in found:
        assert torch.equal(shard["full"], whole)
        assert torch.equal(shard["looked_up"], whole[:5])
        assert shard["moment"].shape == shard["local"].shape
        assert shard["names"] == ["items.weight", "users.weight", "idle.weight"]
        assert shard["is_sharded"]


def test_pooled_lookups_go_the_cheaper_way(answers: list[Any]) -> None:
    for answer in answers:
        assert [name for name, _ in answer[both_ways]] == ["PartialSums", "RowRoute"]
        assert all(difference < 1e-6 for _, difference in answer[both_ways])


def test_lookups_that_wait_together_give_what_they_give_alone(answers: list[Any]) -> None:
    for answer in answers:
        together, alone = answer[packed]
        assert together.keys() == alone.keys() == {"pooled", "rows", "others", "none"}
        for name, vectors in alone.items():
            torch.testing.assert_close(together[name], vectors, **TOLERANCE)


def test_sums_are_cheaper_where_bags_are_large_and_ids_repeat_little() -> None:
    few_bags = bound_of_rows(200_000, 4_096, 2, dim=64)
    assert 2_000 < few_bags < 150_000
    assert bound_of_rows(200_000, 4_096, 64, dim=64) > 150_000


@pytest.mark.parametrize("power", [1, 4])
@pytest.mark.parametrize("count", [1, 500, 30_000])
def test_distinct_ids_are_counted_no_further_than_decides(power: int, count: int) -> None:
    generator = torch.Generator().manual_seed(3)
    ids = (torch.rand(count, generator=generator) ** power * 20_000).long()
    exact = len(ids.unique())
    assert has_more_distinct(ids, exact - 0.5)
    assert not has_more_distinct(ids, exact)
    assert not has_more_distinct(ids, exact + 100)


def test_local_tables_have_no_company(answers: list[Any]) -> None:
    count = len(answers)
    assert {a[local_with_company] for a in answers} == {f"placement 'local' with {count} workers"}
