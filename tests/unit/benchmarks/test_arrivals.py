"""The open-loop generator: Poisson arrivals, latency from when a request was due."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np

from benchmarks.arrivals import LOST, Arrivals, Outcome, Phase, due_times
from benchmarks.load import Target

BODY = b'{"items":[],"degraded":"overload: no ranker"}'
OK = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
REFUSED = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def outcomes(handler: Handler, due: list[float]) -> list[Outcome]:
    async def run() -> list[Outcome]:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        target = Target("127.0.0.1", server.sockets[0].getsockname()[1], "/", (b"{}",))
        async with server:
            return await Arrivals(target).send(np.asarray(due))

    return asyncio.run(run())


async def read_request(reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)


def test_arrivals_follow_the_phases_rates() -> None:
    due = due_times([Phase(50, 20), Phase(500, 10)], seed=1)
    assert np.all(np.diff(due) >= 0)
    before, after = np.sum(due < 20), np.sum(due >= 20)
    assert 0.8 < before / 1000 < 1.2
    assert 0.9 < after / 5000 < 1.1
    gaps = np.diff(due[due >= 20])
    assert 0.8 < gaps.std() / gaps.mean() < 1.2, "exponential gaps deviate by their mean"
    assert np.array_equal(due, due_times([Phase(50, 20), Phase(500, 10)], seed=1))


def test_a_phase_is_read_from_text() -> None:
    assert Phase.parse("2.5:30") == Phase(2.5, 30.0)


def test_a_stalled_service_is_charged_for_what_was_due_meanwhile() -> None:
    stall_s, num_asked = 0.2, 0

    async def stall_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_asked
        await read_request(reader)
        num_asked += 1
        if num_asked == 1:
            time.sleep(stall_s)
        writer.write(OK)
        writer.close()

    found = outcomes(stall_once, [0.0, 0.05, 0.1])
    assert [one.status for one in found] == [200] * 3
    assert {one.degraded for one in found} == {"overload: no ranker"}
    assert found[0].latency_ms >= 1000 * stall_s
    assert found[1].latency_ms >= 1000 * (stall_s - 0.05)
    assert found[2].latency_ms >= 1000 * (stall_s - 0.1)


def test_a_connection_that_its_server_ends_takes_no_more_requests() -> None:
    ended = OK.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)

    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(ended)
        await reader.read()  # whatever else comes is answered by nobody
        writer.close()

    found = outcomes(answer_once, [0.0, 0.1, 0.2])
    assert [one.status for one in found] == [200] * 3


def test_refused_and_lost_requests_are_told_apart() -> None:
    number = 0

    async def refuse_then_hang_up(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal number
        while True:
            await read_request(reader)
            number += 1
            if number == 2:
                writer.close()
                return
            writer.write(REFUSED)

    found = outcomes(refuse_then_hang_up, [0.0, 0.1])
    assert [one.status for one in found] == [429, LOST]


def test_whole_answers_are_heard_and_nothing_is_sent_after_the_end() -> None:
    heard: list[tuple[bytes, bytes]] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK if not heard else REFUSED)
        writer.close()

    async def run() -> list[Outcome]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        target = Target("127.0.0.1", server.sockets[0].getsockname()[1], "/", (b"{}",))

        def hear(request: bytes, body: bytes, received_ms: int) -> None:
            assert abs(received_ms - 1000 * time.time()) < 10_000
            heard.append((request, body))

        arrivals = Arrivals(target, hear)
        async with server:
            sending = asyncio.ensure_future(arrivals.send(np.asarray([0.0, 0.3, 0.6])))
            while not heard:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.4)
            arrivals.stop()
            return await sending

    found = asyncio.run(run())
    assert [one.status for one in found] == [200, 429]
    assert heard == [(b"{}", BODY)]


def test_a_connection_that_was_closed_while_free_is_not_used() -> None:
    async def answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(OK)
        writer.close()

    found = outcomes(answer_once, [0.0, 0.3, 0.6])
    assert [one.status for one in found] == [200] * 3
