"""The chunked softmax equals the plain one, value and gradients, with and without offsets."""

import pytest
import torch
from torch import Tensor

from models.losses import softmax_loss
from models.softmax_rows import Barred, SoftmaxRows

ROWS, ITEMS, DIM = 37, 19, 8


def unit(rows: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(rows, DIM, generator=generator).to(dtype)
    return torch.nn.functional.normalize(vectors, dim=-1).requires_grad_()


def asked(chunk: int, *, with_offsets: bool = True) -> SoftmaxRows:
    generator = torch.Generator().manual_seed(5)
    offsets = torch.randn(ITEMS, generator=generator) if with_offsets else torch.zeros(ITEMS)
    return SoftmaxRows(
        targets=torch.randint(0, ITEMS, (ROWS,), generator=generator),
        weights=torch.rand(ROWS, generator=generator),
        offsets=offsets,
        chunk=chunk,
    )


def plain_loss(queries: Tensor, items: Tensor, scale: Tensor, rows: SoftmaxRows) -> Tensor:
    own = torch.nn.functional.one_hot(rows.targets, ITEMS).bool()
    offsets = torch.where(own, 0.0, rows.offsets).to(queries.dtype)
    logits = scale * queries @ items.T + offsets
    losses = torch.nn.functional.cross_entropy(logits, rows.targets, reduction="none")
    return (rows.weights * losses).sum()


@pytest.mark.parametrize("chunk", [1, 5, 37, 1000])
@pytest.mark.parametrize("with_offsets", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_chunks_give_the_plain_loss_and_its_gradients(
    chunk: int, with_offsets: bool, dtype: torch.dtype, tolerance: float
) -> None:
    rows = asked(chunk, with_offsets=with_offsets)
    results = []
    for loss_of in (
        lambda q, i, s: softmax_loss(q, i, scale=s, rows=rows),
        lambda q, i, s: plain_loss(q, i, s, rows),
    ):
        scale = torch.tensor(20.0, dtype=dtype, requires_grad=True)
        inputs = unit(ROWS, 1, dtype), unit(ITEMS, 2, dtype), scale
        loss = loss_of(*inputs)
        results.append((loss, *torch.autograd.grad(3.0 * loss, inputs)))
    for chunked, plain in zip(*results, strict=True):
        torch.testing.assert_close(chunked, plain, rtol=tolerance, atol=tolerance)


def test_an_item_with_offset_minus_infinity_is_no_candidate() -> None:
    queries, items = unit(4, 1), unit(3, 2)
    offsets = torch.tensor([0.0, 0.0, -torch.inf])
    targets, weights = torch.tensor([0, 1, 0, 1]), torch.ones(4)
    scale = torch.tensor(10.0)
    all_three = softmax_loss(
        queries, items, scale=scale, rows=SoftmaxRows(targets, weights, offsets)
    )
    first_two = softmax_loss(
        queries, items[:2], scale=scale, rows=SoftmaxRows(targets, weights, offsets[:2])
    )
    torch.testing.assert_close(all_three, first_two)


def test_bfloat16_products_stay_near_the_float32_loss() -> None:
    queries, items, rows = unit(ROWS, 1), unit(ITEMS, 2), asked(8)
    scale = torch.tensor(20.0)
    exact = softmax_loss(queries, items, scale=scale, rows=rows)
    with torch.autocast("cpu", torch.bfloat16):
        rough = softmax_loss(queries, items, scale=scale, rows=rows)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.0)


def test_no_rows_cost_nothing() -> None:
    nothing = SoftmaxRows(torch.zeros(0, dtype=torch.int64), torch.zeros(0), torch.zeros(ITEMS))
    loss = softmax_loss(unit(0, 1), unit(ITEMS, 2), scale=torch.tensor(20.0), rows=nothing)
    assert loss.item() == 0.0


def test_bfloat16_offsets_keep_more_than_bfloat16_says() -> None:
    queries, items, base = unit(ROWS, 1), unit(ITEMS, 2), asked(8)
    rows = SoftmaxRows(base.targets, base.weights, torch.full((ITEMS,), 11.34))
    scale = torch.tensor(1.0)
    exact = softmax_loss(queries, items, scale=scale, rows=rows)
    with torch.autocast("cpu", torch.bfloat16):
        rough = softmax_loss(queries, items, scale=scale, rows=rows)
    torch.testing.assert_close(rough, exact, rtol=5e-4, atol=0.0)


@pytest.mark.parametrize("scale", [60.0, 200.0])
def test_a_hot_softmax_stays_finite(scale: float) -> None:
    queries = torch.tensor([[1.0, 0.0]], requires_grad=True)
    items = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    rows = SoftmaxRows(torch.tensor([0]), torch.ones(1), torch.tensor([0.0, 12.0]))
    loss = softmax_loss(queries, items, scale=torch.tensor(scale), rows=rows)
    loss.backward()
    assert queries.grad is not None
    assert loss.isfinite()
    torch.testing.assert_close(queries.grad, torch.tensor([[2.0 * scale, 0.0]]))


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.02)])
def test_a_gpu_gives_the_loss_and_gradients_of_a_cpu(precision: str, tolerance: float) -> None:
    results = []
    for device in ("cpu", "cuda"):
        rows = asked(8)
        rows = SoftmaxRows(*(t.to(device) for t in (rows.targets, rows.weights, rows.offsets)))
        queries = unit(ROWS, 1).detach().to(device).requires_grad_()
        with torch.autocast(device, torch.bfloat16, enabled=precision == "bf16"):
            items, scale = unit(ITEMS, 2).to(device), torch.tensor(20.0, device=device)
            loss = softmax_loss(queries, items, scale=scale, rows=rows)
        (gradient,) = torch.autograd.grad(loss, queries)
        results.append((loss.cpu(), gradient.cpu()))
    for cpu, cuda in zip(*results, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=tolerance, atol=tolerance * float(cpu.norm()))


@pytest.mark.parametrize("chunk", [3, 1000])
def test_barred_items_compete_in_no_row_but_their_own(chunk: int) -> None:
    """Lists are shared; a row sees the first of its list, and its target counts even if barred."""
    queries, items = unit(4, 1), unit(ITEMS, 2)
    rows = SoftmaxRows(
        targets=torch.tensor([5, 6, 7, 3]),
        weights=torch.ones(4),
        offsets=torch.zeros(ITEMS),
        chunk=chunk,
        barred=Barred(
            columns=torch.tensor([[1, 2, -1, 4], [3, 3, 0, 9]]),
            lists=torch.tensor([0, 0, 1, 1]),
            counts=torch.tensor([0, 4, 2, 3]),
        ),
    )
    hidden = [[], [1, 2, 4], [3], [0]]
    scale = torch.tensor(20.0, requires_grad=True)
    logits = scale * queries @ items.T
    mask = torch.zeros(4, ITEMS)
    for row, columns in enumerate(hidden):
        mask[row, columns] = -torch.inf
    plain = torch.nn.functional.cross_entropy(logits + mask, rows.targets, reduction="sum")
    loss = softmax_loss(queries, items, scale=scale, rows=rows)
    inputs = (queries, items, scale)
    torch.testing.assert_close(loss, plain, rtol=2e-5, atol=2e-5)
    for ours, theirs in zip(
        torch.autograd.grad(loss, inputs), torch.autograd.grad(plain, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5)
