"""An open-loop HTTP load generator: Poisson arrivals that wait for nobody.

.venv/bin/python -m benchmarks.arrivals PORT BODIES OUTCOMES --phase RATE:SECONDS [--phase ...]

Bodies are those of recommendations; another program may send whatever it likes through `Arrivals`.

A request's latency counts from the instant at which it was due, so that a service which stalls
is not spared the requests that it kept the generator from sending (coordinated omission).
"""

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.load import DEGRADED, OK, Answer, Target, read_answer

TIMEOUT_S = 10.0
LOST = 0

Hear = Callable[[bytes, bytes, int], None]


@dataclass(frozen=True)
class Phase:
    """So many requests per second for so long."""

    rate: float
    seconds: float

    @classmethod
    def parse(cls, text: str) -> "Phase":
        """Read "RATE:SECONDS"."""
        rate, _, seconds = text.partition(":")
        return cls(float(rate), float(seconds))


@dataclass(frozen=True)
class Outcome:
    """What became of one request."""

    due_s: float
    """When it was to be sent, since the start."""
    latency_ms: float
    """From then to the end of its answer."""
    status: int
    """Of HTTP; LOST for a request without an answer."""
    degraded: str | None = None


def due_times(phases: Sequence[Phase], seed: int = 0) -> npt.NDArray[np.float64]:
    """Draw when requests are due, in seconds since the start: a Poisson process per phase."""
    random, started, times = np.random.default_rng(seed), 0.0, [np.zeros(0)]
    for phase in phases:
        number = random.poisson(phase.rate * phase.seconds)
        times.append(started + np.sort(random.uniform(0.0, phase.seconds, number)))
        started += phase.seconds
    return np.concatenate(times)


class Endless(Protocol):
    """Where requests go, and requests without end, such as `Target`."""

    @property
    def host(self) -> str:
        """The server's address."""
        ...

    @property
    def port(self) -> int:
        """The server's port."""
        ...

    def requests(self, first: int) -> Iterator[bytes]:
        """Yield complete requests, from the one with this number on."""
        ...


class Arrivals:
    """Sends requests when they are due, each over a connection that is free or new.

    Args:
        target: where they go.
        hear: is told every request, its answer's body and when that came, in milliseconds since
            1970, where the status is 200; None keeps nothing.
    """

    def __init__(self, target: Endless, hear: Hear | None = None) -> None:
        self._target = target
        self._hear = hear
        self._is_over = False
        self._requests = target.requests(0)
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def stop(self) -> None:
        """Send nothing more."""
        self._is_over = True

    async def send(self, due: npt.NDArray[np.float64]) -> list[Outcome]:
        """Send one request per due time, until stopped, and wait for all outcomes."""
        started = time.perf_counter()
        running = []
        for due_s in due.tolist():
            wait_s = started + due_s - time.perf_counter()
            await asyncio.sleep(max(wait_s, 0.0))
            if self._is_over:
                break
            running.append(asyncio.ensure_future(self._outcome(next(self._requests), due_s)))
        answers = await asyncio.gather(*running)
        for _, writer in self._free:
            writer.close()
        return [
            Outcome(due_s, 1000 * (ended - started - due_s), status, degraded)
            for due_s, ended, status, degraded in answers
        ]

    async def _outcome(self, request: bytes, due_s: float) -> tuple[float, float, int, str | None]:
        try:
            answer = await asyncio.wait_for(self._exchange(request), TIMEOUT_S)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            return due_s, time.perf_counter(), LOST, None
        if self._hear is not None and answer.status == OK:
            body = request.partition(b"\r\n\r\n")[2]
            self._hear(body, answer.body, time.time_ns() // 1_000_000)
        found = DEGRADED.search(answer.body)
        degraded = found[1].decode() if found else None
        return due_s, time.perf_counter(), answer.status, degraded

    async def _exchange(self, request: bytes) -> Answer:
        """Send over a free connection that its server has not closed, or over a new one."""
        connection = self._free.pop() if self._free else None
        while connection is not None and connection[0].at_eof():
            connection[1].close()
            connection = self._free.pop() if self._free else None
        if connection is None:
            connection = await asyncio.open_connection(self._target.host, self._target.port)
        return await self._answer(connection, request)

    async def _answer(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], request: bytes
    ) -> Answer:
        reader, writer = connection
        try:
            writer.write(request)
            answer = await read_answer(reader)
        except BaseException:
            writer.close()
            raise
        if answer.is_last:
            writer.close()
        else:
            self._free.append(connection)
        return answer


def main() -> None:
    """Load a target from the command line; tell when that began, write a line per request."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arrivals")
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path, help="one JSON body per line")
    parser.add_argument("outcomes", type=Path, help="where each request's outcome is written")
    parser.add_argument("--phase", type=Phase.parse, action="append", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--answers", type=Path, help="where whole answers are written")
    options = parser.parse_args()
    bodies = tuple(options.bodies.read_bytes().splitlines())
    target = Target("127.0.0.1", options.port, "/v1/recommendations", bodies)
    print(json.dumps({"started_s": time.time()}), flush=True)
    answers: list[bytes] = []
    arrivals = Arrivals(target, partial(_keep, answers) if options.answers else None)
    outcomes = asyncio.run(_until_terminated(arrivals, due_times(options.phase, options.seed)))
    if options.answers:
        options.answers.write_bytes(b"".join(answers))
    options.outcomes.write_text("".join(json.dumps(asdict(one)) + "\n" for one in outcomes))


async def _until_terminated(arrivals: Arrivals, due: npt.NDArray[np.float64]) -> list[Outcome]:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, arrivals.stop)
    return await arrivals.send(due)


def _keep(answers: list[bytes], request: bytes, answer: bytes, received_ms: int) -> None:
    parts = (b'{"request": ', request, b', "answer": ', answer, b', "received_ms": ')
    answers.append(b"".join(parts) + b"%d}\n" % received_ms)


if __name__ == "__main__":
    main()
