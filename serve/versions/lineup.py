"""The bundles that one replica holds open."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from cluster.errors import InputError
from serve.versions.orders import Orders, Report

H = TypeVar("H")
logger = logging.getLogger("ray.serve")


class Lineup(Generic[H]):
    """Opens what is wanted, one at a time, and lets go of the rest.

    What is let go of ends with the last request that uses it.

    Args:
        deployment: what this is a replica of.
        open_bundle: opens a bundle and warms it up, in a thread.
    """

    def __init__(self, deployment: str, open_bundle: Callable[[str], H]) -> None:
        self.deployment = deployment
        self.replica = uuid.uuid4().hex
        self.held: dict[str, H] = {}
        self.failed: dict[str, str] = {}
        self._open = open_bundle
        self._wanted: tuple[str, ...] = ()
        self._opening: asyncio.Task[None] | None = None

    def report(self, champion: str | None = None) -> Report:
        """Tell what is held.

        Args:
            champion: what the replica answers from.
        """
        return Report(self.replica, self.deployment, tuple(self.held), dict(self.failed), champion)

    def follow(self, orders: Orders, in_use: Sequence[str] = ()) -> None:
        """Open what is wanted in the background; call on the event loop.

        A bundle that failed is tried again when it has not been wanted for a while.

        Args:
            orders: say what is wanted.
            in_use: bundles that stay open anyhow.
        """
        wanted = self._wanted = orders.wanted
        for bundle_id in self.held.keys() - {*wanted, *orders.kept, *in_use}:
            del self.held[bundle_id]
            logger.info("bundle %s closed", bundle_id)
        for bundle_id in self.failed.keys() - set(wanted):
            del self.failed[bundle_id]
        if self._next() is not None and (self._opening is None or self._opening.done()):
            self._opening = asyncio.ensure_future(self._open_all())

    async def opened(self) -> None:
        """Wait until there is nothing to open."""
        if self._opening is not None:
            await self._opening

    def _next(self) -> str | None:
        missing = (i for i in self._wanted if i not in self.held and i not in self.failed)
        return next(missing, None)

    async def _open_all(self) -> None:
        while (bundle_id := self._next()) is not None:
            try:
                self.held[bundle_id] = await asyncio.to_thread(self._open, bundle_id)
            except InputError as error:
                self.failed[bundle_id] = str(error)
                logger.warning("bundle %s not opened: %s", bundle_id, error)
            except Exception as error:
                self.failed[bundle_id] = f"{type(error).__name__}: {error}"
                logger.exception("bundle %s not opened", bundle_id)
