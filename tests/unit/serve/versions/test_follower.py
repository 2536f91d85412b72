"""A replica keeps in step with the coordinator, and goes on without it."""

import asyncio
from collections.abc import Iterator

import pytest

from serve.versions.follower import Follower
from serve.versions.orders import Orders, Report

ORDERS = Orders("b", ("b",))


class Led:
    """Notes what it is told; may fail at it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.heard: list[Orders] = []

    def report(self) -> Report:
        """Tell nothing."""
        return Report("r", "gateway")

    def follow(self, orders: Orders) -> None:
        """Note it."""
        if self.error is not None:
            raise self.error
        self.heard.append(orders)


async def until_asked(replica: Led, answers: list[Orders | None]) -> Follower:
    """Run a follower until every answer was asked for."""
    waiting: Iterator[Orders | None] = iter(answers)
    has_ended = asyncio.Event()

    async def ask(report: Report) -> Orders | None:
        assert report.deployment == "gateway"
        try:
            return next(waiting)
        except StopIteration:
            has_ended.set()
            return None

    follower = Follower(replica, ask, pause_s=0)
    ended = asyncio.ensure_future(has_ended.wait())
    await asyncio.wait([ended, follower.task], return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    return follower


def test_what_is_told_is_followed_and_silence_changes_nothing() -> None:
    replica = Led()

    async def run() -> None:
        follower = await until_asked(replica, [ORDERS, None, ORDERS])
        follower.check()
        follower.task.cancel()

    asyncio.run(run())
    assert replica.heard == [ORDERS, ORDERS]


def test_a_follower_that_ended_fails_the_replica_s_health() -> None:
    async def run() -> None:
        follower = await until_asked(Led(ValueError("broken")), [ORDERS])
        with pytest.raises(ValueError, match="broken"):
            follower.check()

    asyncio.run(run())
