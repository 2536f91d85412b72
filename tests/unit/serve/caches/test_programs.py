"""What a program made of a user is kept for equal inputs, of that program alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.runtime.programs import Program
from serve.caches.cache import ENTRY_BYTES, Cache, Limits
from serve.caches.caches import Caches
from serve.caches.config import CacheConfig, VectorsConfig
from serve.caches.programs import TENSOR_BYTES, CachedProgram
from serve.metrics import Metrics

INPUTS = {"codes": torch.tensor([[1, 2]]), "rates": torch.tensor([[0.5]])}


class Sums:
    """A program that counts its calls."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self, inputs: dict[str, torch.Tensor]) -> Any:
        """Return a nest of tensors."""
        self.num_calls += 1
        return (inputs["codes"].sum(), {"rates": inputs["rates"] * 2})


class OpenedSums:
    """Opens the same program whatever the file."""

    def __init__(self) -> None:
        self.program = Sums()

    def open(self, source: Path, digest: str) -> Program:
        """Return it."""
        return self.program


@pytest.fixture
def cache() -> Cache[Any]:
    return Cache("user_tower", Limits(10, 10**6), Metrics())


def test_equal_inputs_are_computed_once(cache: Cache[Any]) -> None:
    program = Sums()
    cached = CachedProgram(program, "a", cache)
    first = cached(INPUTS)
    again = cached({name: INPUTS[name].clone() for name in reversed(INPUTS)})
    assert program.num_calls == 1
    assert again is first
    assert cache.num_bytes == 8 + 4 + 2 * TENSOR_BYTES + ENTRY_BYTES


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: {**inputs, "codes": torch.tensor([[1, 3]])},
        lambda inputs: {**inputs, "codes": torch.tensor([[1], [2]])},
        lambda inputs: {**inputs, "rates": torch.tensor([[0.5000001]])},
        lambda inputs: {**inputs, "rates": torch.tensor([[0.5]], dtype=torch.float64)},
        lambda inputs: {**inputs, "more": torch.zeros(0)},
    ],
)
def test_other_inputs_are_computed(
    cache: Cache[Any], change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    program = Sums()
    cached = CachedProgram(program, "a", cache)
    cached(INPUTS)
    cached(change(INPUTS))
    assert program.num_calls == 2


def test_another_bundle_s_program_is_another_program(cache: Cache[Any]) -> None:
    programs = Sums(), Sums()
    for digest, program in zip("ab", programs, strict=True):
        CachedProgram(program, digest, cache)(INPUTS)
    assert [program.num_calls for program in programs] == [1, 1]


def test_the_user_tower_of_every_bundle_is_cached() -> None:
    metrics = Metrics()
    opened = OpenedSums()
    programs = Caches(CacheConfig(), metrics).programs(opened)
    for bundle in ("one", "other"):
        program = programs.open(Path(f"{bundle}/user_tower.pt2"), bundle)
        program(INPUTS)
        program(INPUTS)
    assert opened.program.num_calls == 2
    assert 'millrace_cache_hits_total{cache="vectors"} 2.0' in metrics.render().decode()


def test_other_programs_and_none_without_entries_are_not_cached() -> None:
    opened = OpenedSums()
    for name, config in (
        ("ranker_user", CacheConfig()),
        ("ranker_items", CacheConfig()),
        ("user_tower", CacheConfig(vectors=VectorsConfig(max_entries=0))),
    ):
        program = Caches(config, Metrics()).programs(opened).open(Path(f"{name}.pt2"), "a")
        assert program is opened.program
