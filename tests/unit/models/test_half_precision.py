"""Exported programs with their products in bfloat16."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from models.half_precision import halve_products

BF16_STEP = 2.0**-8


class Products(nn.Module):
    """One of each kind of product, codes, and a sum that needs float32."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(10, 8)
        self.layer = nn.Linear(8, 8)
        self.mixed = nn.Parameter(torch.randn(3, 8, 4))

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (n, 3, 4) and the sum of the numbers (n,)."""
        numbers = inputs["numbers"]
        hidden = torch.relu(self.layer(self.table(inputs["codes"]) + numbers))
        hidden = hidden @ (hidden.T @ hidden)
        return torch.einsum("ni,eio->neo", hidden, self.mixed), numbers.sum(-1)


def inputs(size: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(size)
    return {
        "codes": torch.randint(10, (size,), generator=generator),
        "numbers": torch.randn(size, 8, generator=generator),
    }


@pytest.fixture(scope="module")
def exported() -> ExportedProgram:
    many = Dim("rows")
    shapes = ({"codes": {0: many}, "numbers": {0: many}},)
    return torch.export.export(Products().eval(), (inputs(3),), dynamic_shapes=shapes)


def halved(program: ExportedProgram, folder: Path) -> ExportedProgram:
    """Return a changed copy."""
    torch.export.save(program, folder / "exact.pt2")
    copy = torch.export.load(folder / "exact.pt2")
    assert halve_products(copy) == 4
    return copy


def test_products_are_rounded_and_sums_are_not(exported: ExportedProgram, tmp_path: Path) -> None:
    lowered = halved(exported, tmp_path)
    with torch.inference_mode():
        exact, exact_sum = exported.module()(inputs(5))
        rough, rough_sum = lowered.module()(inputs(5))
    assert rough.dtype == torch.float32
    difference = (exact - rough).abs().max() / exact.abs().max()
    assert 0 < difference < 4 * BF16_STEP
    assert torch.equal(exact_sum, rough_sum)


def test_it_can_be_written_and_takes_any_number_of_rows(
    exported: ExportedProgram, tmp_path: Path
) -> None:
    lowered = halved(exported, tmp_path)
    torch.export.save(lowered, tmp_path / "lowered.pt2")
    opened = torch.export.load(tmp_path / "lowered.pt2").module()
    with torch.inference_mode():
        for size in (1, 2, 40):
            expected, _ = lowered.module()(inputs(size))
            assert torch.equal(opened(inputs(size))[0], expected)


def test_weights_stay_exact(exported: ExportedProgram, tmp_path: Path) -> None:
    lowered = halved(exported, tmp_path)
    for name, weight in exported.state_dict.items():
        assert torch.equal(lowered.state_dict[name], weight)
