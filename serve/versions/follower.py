"""Keeps a replica in step with the coordinator of the service's bundles."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from serve.versions.orders import Orders, Report

SYNC_S = 0.5

Ask = Callable[[Report], Awaitable[Orders | None]]
"""Reports and returns what is to be done; None while nobody can tell."""


class Replica(Protocol):
    """What follows."""

    def report(self) -> Report:
        """Tell what it holds."""
        ...

    def follow(self, orders: Orders) -> None:
        """Do as told, without blocking."""
        ...


class Follower:
    """Reports and follows for as long as the replica lives.

    Without a coordinator the replica goes on with what it has.

    Args:
        replica: follows.
        ask: reaches the coordinator.
        pause_s: time between reports.
    """

    def __init__(self, replica: Replica, ask: Ask, *, pause_s: float = SYNC_S) -> None:
        self.replica = replica
        self._ask = ask
        self._pause_s = pause_s
        self.task = asyncio.ensure_future(self._run())

    def check(self) -> None:
        """Raise what ended it, so that the replica is replaced."""
        if self.task.done():
            self.task.result()

    async def _run(self) -> None:
        while True:
            orders = await self._ask(self.replica.report())
            if orders is not None:
                self.replica.follow(orders)
            await asyncio.sleep(self._pause_s)
