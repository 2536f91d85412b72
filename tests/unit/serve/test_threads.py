"""A replica's threads: the most urgent first, nothing that nobody waits for, no thread lost."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

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


class Doubles:
    """Doubles numbers of several requests in one call, and fails with any that is negative."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []

    def __call__(self, asks: Sequence[int]) -> list[int]:
        """Double."""
        self.calls.append(list(asks))
        if min(asks) < 0:
            raise ValueError(f"negative: {min(asks)}")
        return [2 * ask for ask in asks]


async def behind_a_gate(
    threads: Threads, jobs: Callable[[], Sequence[Awaitable[Any]]]
) -> Sequence[asyncio.Future[Any]]:
    """Let jobs wait until a computation that came before them ends; return what came of them."""
    gate = Gate()
    first = asyncio.ensure_future(threads.run(FULL, gate))
    await gate.wait_until_entered()
    waiting = [asyncio.ensure_future(job) for job in jobs()]
    await asyncio.sleep(0)
    gate.opened.set()
    await first
    await asyncio.wait(waiting)
    threads.close()
    return waiting


def test_what_waits_for_one_stage_is_computed_in_one_call_the_most_urgent_first() -> None:
    doubles, others, told = Doubles(), Doubles(), list[int]()

    async def run() -> list[int]:
        threads = Threads(1, tell=told.append)
        done = await behind_a_gate(
            threads,
            lambda: [
                threads.run_jointly(due_in(300), doubles, 1, most=3),
                threads.run_jointly(due_in(200), others, 2, most=3),
                threads.run_jointly(due_in(400), doubles, 3, most=3),
                threads.run_jointly(due_in(100), doubles, 4, most=3),
                threads.run_jointly(due_in(500), doubles, 5, most=3),
                threads.run(due_in(50), int, "6"),
            ],
        )
        return [future.result() for future in done]

    assert asyncio.run(run()) == [2, 4, 6, 8, 10, 6]
    assert doubles.calls == [[4, 1, 3], [5]]
    assert others.calls == [[2]]
    assert told == [3, 1, 1]


def test_the_one_that_fails_in_a_call_of_several_fails_alone() -> None:
    doubles = Doubles()

    async def run() -> list[Any]:
        threads = Threads(1)
        done = await behind_a_gate(
            threads, lambda: [threads.run_jointly(FULL, doubles, n, most=8) for n in (1, -2, 3)]
        )
        return [future.exception() or future.result() for future in done]

    first, failed, last = asyncio.run(run())
    assert (first, last) == (2, 6)
    assert str(failed) == "negative: -2"
    assert doubles.calls == [[1, -2, 3], [1], [-2], [3]]


def test_a_call_of_several_leaves_out_whoever_has_gone_or_is_late() -> None:
    doubles = Doubles()

    async def run() -> list[bool]:
        threads, gate = Threads(1), Gate()
        first = asyncio.ensure_future(threads.run(FULL, gate))
        await gate.wait_until_entered()
        plans = (due_in(LONG_S), FULL, due_in(-0.001), FULL)
        waiting = [
            asyncio.ensure_future(threads.run_jointly(plan, doubles, n, most=3))
            for n, plan in enumerate(plans)
        ]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.wait([first, *waiting])
        threads.close()
        assert isinstance(waiting[2].exception(), DeadlinePassedError)
        return [waiting[1].cancelled(), waiting[0].result() == 0, waiting[3].result() == 6]

    assert asyncio.run(run()) == [True, True, True]
    assert doubles.calls == [[0, 3]]


def test_a_call_is_stuck_only_when_all_its_requests_have_left() -> None:
    stuck = Gate()

    def several(asks: Sequence[int]) -> list[int]:
        if len(asks) > 1:
            stuck()
        return list(asks)

    async def run() -> tuple[bool, str]:
        threads, gate = Threads(1, patience_s=0.0), Gate()
        first = asyncio.ensure_future(threads.run(FULL, gate))
        await gate.wait_until_entered()
        jobs = [
            asyncio.ensure_future(threads.run_jointly(FULL, several, n, most=2)) for n in (1, 2)
        ]
        await asyncio.sleep(0)
        gate.opened.set()
        await first
        await stuck.wait_until_entered()
        after = asyncio.ensure_future(threads.run(FULL, str.upper, "next"))
        jobs[0].cancel()
        await asyncio.wait([after], timeout=0.05)
        was_held = not after.done()
        jobs[1].cancel()
        answer = await asyncio.wait_for(after, LONG_S)
        stuck.opened.set()
        threads.close()
        return was_held, answer

    assert asyncio.run(run()) == (True, "NEXT")
