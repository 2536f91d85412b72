"""A replica's threads: the most urgent first, nothing that nobody waits for, no thread lost."""

import asyncio
import threading
import time

import pytest

from serve.plan import FULL, DeadlinePassedError, Plan
from serve.threads import Threads

LONG_S = 30.0


class Gate:
    """A computation that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.thread: threading.Thread | None = None

    def __call__(self) -> str:
        """Wait."""
        self.entered.set()
        assert self.opened.wait(LONG_S)
        return "through"

    async def wait_until_entered(self) -> None:
        """Wait off the loop."""
        assert await asyncio.to_thread(self.entered.wait, LONG_S)


def due_in(seconds: float) -> Plan:
    return Plan(deadline_ms=1000 * (time.time() + seconds))


def test_results_and_exceptions_come_back() -> None:
    async def run() -> int:
        threads = Threads(2)
        with pytest.raises(ZeroDivisionError):
            await threads.run(FULL, lambda: 1 // 0)
        result = await threads.run(FULL, pow, 2, 10)
        threads.close()
        return result

    assert asyncio.run(run()) == 1024


def test_the_request_that_is_due_first_goes_first() -> None:
    async def run() -> list[str]:
        threads, gate, order = Threads(1), Gate(), list[str]()
        first = asyncio.ensure_future(threads.run(FULL, gate))
        await gate.wait_until_entered()
        waiting = [
            asyncio.ensure_future(threads.run(due_in(seconds), order.append, name))
            for seconds, name in ((300, "later"), (100, "sooner"), (300, "later, too"))
        ]
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(first, *waiting)
        threads.close()
        return order

    assert asyncio.run(run()) == ["sooner", "later", "later, too"]


def test_work_whose_deadline_has_passed_is_not_computed() -> None:
    async def run() -> list[str]:
        threads, computed = Threads(1), list[str]()
        with pytest.raises(DeadlinePassedError):
            await threads.run(due_in(-0.001), computed.append, "late")
        await threads.run(due_in(LONG_S), computed.append, "in time")
        threads.close()
        return computed

    assert asyncio.run(run()) == ["in time"]


def test_work_of_a_client_that_has_gone_is_not_computed() -> None:
    async def run() -> list[str]:
        threads, gate, computed = Threads(1), Gate(), list[str]()
        first = asyncio.ensure_future(threads.run(FULL, gate))
        await gate.wait_until_entered()
        gone = asyncio.ensure_future(threads.run(FULL, computed.append, "gone"))
        stays = asyncio.ensure_future(threads.run(FULL, computed.append, "stays"))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(first, stays)
        threads.close()
        return computed

    assert asyncio.run(run()) == ["stays"]


def test_a_stuck_computation_does_not_keep_the_next_from_running() -> None:
    async def run() -> str:
        threads, stuck = Threads(1, patience_s=0.0), Gate()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(_entered(threads, stuck), 0.01)
        answer = await asyncio.wait_for(threads.run(FULL, str.upper, "next"), LONG_S)
        stuck.opened.set()
        threads.close()
        return answer

    async def _entered(threads: Threads, gate: Gate) -> None:
        running = asyncio.ensure_future(threads.run(FULL, gate))
        try:
            await gate.wait_until_entered()
            await running
        finally:
            running.cancel()

    assert asyncio.run(run()) == "NEXT"


def test_a_replaced_thread_ends_when_it_comes_back() -> None:
    async def run() -> None:
        threads, stuck = Threads(1, patience_s=0.0), Gate()
        task = asyncio.ensure_future(threads.run(FULL, thread_of, stuck))
        await stuck.wait_until_entered()
        task.cancel()
        await threads.run(FULL, int)
        stuck.opened.set()
        assert stuck.thread is not None
        await asyncio.to_thread(stuck.thread.join, LONG_S)
        assert not stuck.thread.is_alive()
        threads.close()

    def thread_of(gate: Gate) -> None:
        gate.thread = threading.current_thread()
        gate()

    asyncio.run(run())


def test_what_waits_is_dropped_when_the_threads_end() -> None:
    async def run() -> None:
        threads, gate = Threads(1), Gate()
        first = asyncio.ensure_future(threads.run(FULL, gate))
        await gate.wait_until_entered()
        waiting = asyncio.ensure_future(threads.run(FULL, int))
        await asyncio.sleep(0)
        threads.close()
        gate.opened.set()
        assert await first == "through"
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(run())
