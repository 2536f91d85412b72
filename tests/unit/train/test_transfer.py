"""Batches reach the device in order and whole, to a GPU one ahead."""

from collections.abc import Iterator

import pytest
import torch

from train.objective import Batch
from train.transfer import on_device, one_ahead


def batches(count: int) -> Iterator[Batch]:
    return iter(
        [{"x": torch.full((1_000,), float(n)), "y": torch.tensor([n])} for n in range(count)]
    )


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_every_item_comes_once_and_in_order(count: int) -> None:
    assert list(one_ahead(iter(range(count)))) == list(range(count))


def test_the_next_item_is_made_before_the_current_one_is_handed_out() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for item in range(4):
            made.append(item)
            yield item

    seen = [(item, len(made)) for item in one_ahead(items())]
    assert seen == [(0, 2), (1, 3), (2, 4), (3, 4)]


@pytest.mark.parametrize("kind", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_batches_arrive_whole(kind: str) -> None:
    arrived = list(on_device(batches(7), torch.device(kind)))
    assert [batch["y"].item() for batch in arrived] == list(range(7))
    for number, batch in enumerate(arrived):
        assert batch["x"].device.type == kind
        assert (batch["x"] == number).all()


def test_a_cpu_makes_a_batch_only_when_it_is_asked_for() -> None:
    made: list[int] = []

    def lazily() -> Iterator[Batch]:
        for number in range(3):
            made.append(number)
            yield {"x": torch.zeros(1)}

    next(on_device(lazily(), torch.device("cpu")))
    assert made == [0]
