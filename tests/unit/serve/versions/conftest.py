"""Answers as gateways count them."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from serve.messages import Answer, Item
from serve.versions.tally import Tally

Make = Callable[..., Answer]
Count = Callable[..., Tally]


def answer_of(
    predictions: Sequence[float] = (0.5,),
    *,
    ms: float = 10.0,
    degraded: str | None = None,
    bundle: str = "b",
) -> Answer:
    """Return an answer with an item for each prediction, numbered from 1."""
    items = [
        Item(item_id=number, score=1.0, predictions={"click": value}, source="two_tower")
        for number, value in enumerate(predictions, 1)
    ]
    return Answer(
        request_id="r",
        bundle=bundle,
        items=items,
        degraded=degraded,
        timings_ms={"rank": ms, "total": 50 * ms},
    )


@pytest.fixture
def make() -> Make:
    """Makes an answer."""
    return answer_of


@pytest.fixture
def count() -> Count:
    """Counts answers whose predictions are drawn around a mean."""

    def counted(
        num: int, *, mean: float = 0.2, faults: int = 0, ms: float = 10.0, seed: int = 0
    ) -> Tally:
        random, tally = np.random.default_rng(seed), Tally()
        for _ in range(num - faults):
            tally.note(answer_of(random.beta(50 * mean, 50 * (1 - mean), 20).tolist(), ms=ms))
        for _ in range(faults):
            tally.note(answer_of(degraded="rank failed"))
        return tally

    return counted
