"""The online store is filled for what is to take over, beside everything else."""

import asyncio
import threading

import pytest

from cluster.errors import InputError
from retrieval.registry import Standing
from serve.versions.config import RolloutConfig
from serve.versions.coordinator import SETTLE_S, Coordinator
from serve.versions.orders import Report
from serve.versions.refill import Refill
from serve.versions.sighting import Sighting


@pytest.fixture
def coordinator() -> Coordinator:
    """Has a bundle that the only replica holds and that the store is not filled for."""
    instants = iter((0.0, SETTLE_S))
    coordinator = Coordinator(RolloutConfig(), "old", clock=lambda: next(instants, SETTLE_S))
    coordinator.observe(Sighting(Standing("new")))
    coordinator.sync(Report("ranker", "ranker", ("old", "new")))
    assert coordinator.unfilled == "new"
    return coordinator


def test_a_store_is_filled_in_a_thread_and_once(coordinator: Coordinator) -> None:
    filled: list[str] = []
    may_end = threading.Event()

    def fill(bundle_id: str) -> int:
        assert may_end.wait(30)
        filled.append(bundle_id)
        return 7

    async def run() -> None:
        refill = Refill(coordinator, fill)
        for _ in range(3):
            refill.step()
        assert filled == []
        may_end.set()
        await refill.ended()
        refill.step()
        await refill.ended()

    asyncio.run(run())
    assert filled == ["new"]
    assert coordinator.champion == "new"


@pytest.mark.parametrize(
    ("error", "said"),
    [(InputError("no column"), "no column"), (OSError("disk full"), "OSError: disk full")],
)
def test_what_comes_in_the_way_is_told(
    coordinator: Coordinator, error: Exception, said: str
) -> None:
    def fill(_: str) -> int:
        raise error

    async def run() -> None:
        refill = Refill(coordinator, fill)
        refill.step()
        await refill.ended()

    asyncio.run(run())
    assert coordinator.champion == "old"
    assert coordinator.status()["refused"] == {"new": said}
