"""A closed-loop HTTP load generator: clients that ask, wait for the answer and ask again."""

import argparse
import asyncio
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

WARM_UP_REQUESTS = 20
OK = 200
DEGRADED = re.compile(rb'"degraded":"([^"]*)"')


@dataclass(frozen=True)
class Load:
    """What one run of the generator measured."""

    clients: int
    requests: int
    failures: int
    degraded: int
    """Answers that miss something."""
    seconds: float
    throughput: float
    """Answers with status 200 per second."""
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Result:
    """What became of one request."""

    ms: float
    status: int
    is_degraded: bool


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end."""

    status: int
    body: bytes
    is_last: bool
    """Whether the server closes the connection, as a proxy does that another one takes over from:
    what would be sent on it is lost (RFC 9112, 9.6)."""


@dataclass(frozen=True)
class Target:
    """Where requests go, and the bodies that are sent in turn."""

    host: str
    port: int
    path: str
    bodies: tuple[bytes, ...]

    def requests(self, first: int) -> Iterator[bytes]:
        """Yield complete requests without end, starting with another body for each client."""
        for number in itertools.count(first):
            yield as_bytes(self.host, self.path, self.bodies[number % len(self.bodies)])


def as_bytes(host: str, path: str, body: bytes, *, method: str = "POST") -> bytes:
    """Return a request with a JSON body as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def generate(target: Target, clients: int, seconds: float) -> Load:
    """Load a target with so many clients for so long."""
    await _client(target, 0, num_requests=WARM_UP_REQUESTS)
    started = time.perf_counter()
    runs = await asyncio.gather(
        *(_client(target, 17 * client, until=started + seconds) for client in range(clients))
    )
    elapsed = time.perf_counter() - started
    results = list(itertools.chain(*runs))
    latencies = np.array([one.ms for one in results if one.status == OK])
    failures = len(results) - len(latencies)
    p50, p99 = np.percentile(latencies, (50, 99)) if len(latencies) else (np.nan, np.nan)
    return Load(
        clients=clients,
        requests=len(latencies) + failures,
        failures=failures,
        degraded=sum(one.is_degraded for one in results),
        seconds=elapsed,
        throughput=len(latencies) / elapsed,
        p50_ms=float(p50),
        p99_ms=float(p99),
    )


async def _client(
    target: Target, first: int, *, until: float = float("inf"), num_requests: int = sys.maxsize
) -> list["Result"]:
    """Send requests over one connection; return what became of each.

    A proxy may close an idle connection; it is opened again, and the time counts.
    """
    reader, writer = await asyncio.open_connection(target.host, target.port)
    results: list[Result] = []
    for request in itertools.islice(target.requests(first), num_requests):
        started = time.perf_counter()
        if started >= until:
            break
        try:
            writer.write(request)
            answer = await read_answer(reader)
        except (asyncio.IncompleteReadError, ConnectionResetError):
            reader, writer = await asyncio.open_connection(target.host, target.port)
            writer.write(request)
            answer = await read_answer(reader)
        ms = (time.perf_counter() - started) * 1000
        results.append(Result(ms, answer.status, is_degraded=bool(DEGRADED.search(answer.body))))
    writer.close()
    await writer.wait_closed()
    return results


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one answer to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines[1:] if b": " in line)
    status = int(lines[0].split(b" ")[1])
    is_last = headers.get(b"connection") == b"close"
    if b"content-length" in headers:
        body = await reader.readexactly(int(headers[b"content-length"]))
        return Answer(status, body, is_last)
    chunks = []
    while size := int(await reader.readline(), 16):
        chunks.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return Answer(status, b"".join(chunks), is_last)


def main() -> None:
    """Load a target from the command line; print one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load")
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path, help="one JSON body per line")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    bodies = tuple(options.bodies.read_bytes().splitlines())
    target = Target("127.0.0.1", options.port, "/v1/recommendations", bodies)
    load = asyncio.run(generate(target, options.clients, options.seconds))
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
