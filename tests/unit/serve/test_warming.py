"""A replica warms up until passes get no faster, with requests as full as real ones."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.config import load
from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.shared import Shared
from serve.stages import Query
from serve.warming import MAX_PASSES, MIN_PASSES, repeat, synthetic_query, warm
from tests.toy_bundle import ToyBundle

TINY = Path(__file__).resolve().parents[2] / "tiny.toml"


@pytest.fixture
def equipment(bundle: ToyBundle) -> Equipment:
    settings = load(ServeSettings, TINY)
    return Equipment(settings, bundle, Shared(settings))


def passes(seconds: list[float]) -> int:
    """Return how often something is repeated that takes so long each time."""
    ends = itertools.accumulate(seconds)
    instants = [0.0, *itertools.chain(*((end, end) for end in ends))]
    clock = iter(instants)
    return repeat(lambda: None, lambda: next(clock))


def test_warming_goes_on_while_it_helps() -> None:
    assert passes([8.0, 4.0, 2.0, 1.0, 1.0, 1.0]) == 5
    assert passes([1.0] * 9) == MIN_PASSES
    assert passes([0.5**number for number in range(40)]) == MAX_PASSES


def test_the_synthetic_user_has_as_long_a_history_as_the_models_read(
    equipment: Equipment, bundle: ToyBundle
) -> None:
    query = synthetic_query(equipment)
    assert len(query.history) == bundle.schema.history_length
    assert np.all(query.history > 0)


def test_every_stage_is_run(equipment: Equipment) -> None:
    ran: list[str] = []
    moments: set[bytes] = set()

    class Noted:
        """A stage that notes its calls."""

        max_batch = 1

        def __getattr__(self, name: str) -> Any:
            def run(query: Query, *_: Any) -> None:
                ran.append(name)
                if name != "rerank":
                    moments.add(name.encode() + query.inputs["history_gaps"].tobytes())

            return run

    for stage in ("sources", "ranker", "reranker"):
        vars(equipment)[stage] = Noted()
    warm(equipment, ("retrieve", "rank", "rerank"))
    assert set(ran) == {"retrieve", "rank", "rerank"}
    assert all(ran.count(name) >= MIN_PASSES for name in set(ran))
    # Equal inputs would be answered from a cache.
    assert len(moments) == ran.count("retrieve") + ran.count("rank")
