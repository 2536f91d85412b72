"""A program of two layers, really compiled: it computes the same, and guards what it reads."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from models.export import save_program
from models.runtime.package import CODE, PROBES, WEIGHTS, DamagedPackageError, Package
from models.runtime.packages import COMPILER, CompilationError, Packages, run_compiler

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which(COMPILER) is None, reason=f"no {COMPILER}"),
]
ROWS, DIM = 50, 8


class Items(nn.Module):
    """A state and a table's rows, as the ranker's item side takes them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(ROWS, DIM)
        self.layer = nn.Linear(DIM, 3)

    def forward(self, state: tuple[Tensor, Tensor], items: dict[str, Tensor]) -> Tensor:
        """Return (n, 3)."""
        vectors = self.table(items["codes"]) * state[0] + items["numbers"]
        return torch.sigmoid(self.layer(torch.relu(vectors))) + state[1]


def state() -> tuple[Tensor, Tensor]:
    return torch.linspace(0.5, 1.5, DIM).unsqueeze(0), torch.tensor([[0.1, 0.2, 0.3]])


def items(size: int) -> dict[str, Tensor]:
    numbers = torch.linspace(-1, 1, size * DIM).view(size, DIM)
    return {"codes": torch.arange(size) % ROWS, "numbers": numbers}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported program."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("exported") / "items.pt2"
    many = Dim("candidates")
    shapes = (({}, {}), {"codes": {0: many}, "numbers": {0: many}})
    save_program(Items(), (state(), items(2)), shapes, path)
    return path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Packages:
    """Its package."""
    packages = Packages(tmp_path_factory.mktemp("compiled"), num_runners=2)
    packages.build(source, "a" * 64)
    return packages


@pytest.fixture
def folder(tmp_path: Path, built: Packages) -> Path:
    """A copy of the package that may be spoiled."""
    return shutil.copytree(built.path("a" * 64), tmp_path / "copy")


def test_it_computes_what_the_exported_program_does(source: Path, built: Packages) -> None:
    package, exported = built.find("a" * 64), torch.export.load(source).module()
    assert package is not None
    for size in (1, 2, 500):
        torch.testing.assert_close(
            package(state(), items(size)), exported(state(), items(size)), rtol=1e-5, atol=1e-6
        )


def test_keys_may_come_in_any_order_and_with_others(built: Packages) -> None:
    package = built.find("a" * 64)
    assert package is not None
    given = items(3)
    shuffled = {"more": torch.zeros(1), **dict(reversed(given.items()))}
    assert torch.equal(package(state(), shuffled), package(state(), given))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"numbers": torch.zeros(3, DIM + 1)}, r"float32 \[3, 9\] instead of"),
        ({"numbers": torch.zeros(3, DIM, dtype=torch.float64)}, "float64"),
        ({"codes": torch.tensor([0, 1, ROWS])}, "out of bounds"),
    ],
)
def test_wrong_inputs_are_refused_and_not_misread(
    built: Packages, changed: dict[str, Tensor], message: str
) -> None:
    package = built.find("a" * 64)
    assert package is not None
    with pytest.raises((ValueError, RuntimeError), match=message):
        package(state(), {**items(3), **changed})


@pytest.mark.parametrize("name", [CODE, PROBES])
def test_an_altered_file_is_noticed(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (folder / name).write_bytes(content)
    with pytest.raises(DamagedPackageError, match="no sound package"):
        Package(folder)


def test_a_short_weights_file_is_noticed(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-1])
    with pytest.raises(DamagedPackageError, match="no sound package"):
        Package(folder)


def test_altered_weights_show_in_the_probes(folder: Path) -> None:
    weights = torch.load(folder / WEIGHTS, weights_only=True)
    weights["layer.weight"] += 0.1
    torch.save(weights, folder / WEIGHTS)
    with pytest.raises(DamagedPackageError, match="probe"):
        Package(folder)


def test_what_is_no_program_is_not_compiled(tmp_path: Path) -> None:
    source = tmp_path / "broken.pt2"
    source.write_bytes(b"nothing")
    draft = tmp_path / "draft"
    draft.mkdir()
    with pytest.raises(CompilationError, match="broken.pt2: exit status 1"):
        run_compiler(source, draft, False)
