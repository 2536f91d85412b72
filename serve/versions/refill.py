"""Fills the online store for a bundle that is to take over, once for all replicas."""

import asyncio
import logging
import time
from collections.abc import Callable

from cluster.errors import InputError
from serve.versions.coordinator import Coordinator

Fill = Callable[[str], int]
"""Fills the store for a bundle and returns how many users were written."""
logger = logging.getLogger("ray.serve")


class Refill:
    """Does what the coordinator finds due, one bundle at a time, in a thread.

    Killed half-way, whoever coordinates next finds it due again.

    Args:
        coordinator: is told how it went.
        fill: may be repeated.
    """

    def __init__(self, coordinator: Coordinator, fill: Fill) -> None:
        self.coordinator = coordinator
        self._fill = fill
        self._running: asyncio.Task[None] | None = None

    def step(self) -> None:
        """Begin what is due, unless something is being filled; call on the event loop."""
        if self._running is not None and not self._running.done():
            return
        bundle_id = self.coordinator.unfilled
        if bundle_id is not None:
            self.coordinator.begin_filling()
            self._running = asyncio.ensure_future(self._run(bundle_id))

    async def ended(self) -> None:
        """Wait until nothing is being filled."""
        if self._running is not None:
            await self._running

    async def _run(self, bundle_id: str) -> None:
        started = time.monotonic()
        try:
            num_users = await asyncio.to_thread(self._fill, bundle_id)
        except InputError as error:
            self.coordinator.note_filled(bundle_id, str(error))
        except Exception as error:
            logger.exception("the online store is not filled for bundle %s", bundle_id)
            self.coordinator.note_filled(bundle_id, f"{type(error).__name__}: {error}")
        else:
            elapsed_s = time.monotonic() - started
            logger.warning(
                "online store: %d users written for bundle %s in %.1f s",
                *(num_users, bundle_id, elapsed_s),
            )
            self.coordinator.note_filled(bundle_id)
