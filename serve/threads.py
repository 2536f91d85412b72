"""Runs a replica's computations off its event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """So many computations at a time; what comes meanwhile waits in turn."""

    def __init__(self, num_threads: int) -> None:
        self._executor = ThreadPoolExecutor(num_threads, thread_name_prefix="stages")

    async def run(self, stage: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread and wait without blocking the loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: stage(*args, **kwargs))

    def close(self) -> None:
        """Drop what waits and let the threads end."""
        self._executor.shutdown(wait=True, cancel_futures=True)
