"""Headers that Ray Serve cannot decode do not reach it."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from serve.headers import CleanHeaders, middlewares


def passed_on(*headers: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    found = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        found.extend(scope["headers"])

    async def receive() -> Message:
        return {}

    async def send(_message: Message) -> None:
        return None

    asyncio.run(CleanHeaders(app)({"type": "http", "headers": list(headers)}, receive, send))
    return found


def test_ordinary_headers_pass() -> None:
    headers = [(b"host", b"a"), (b"x-request-id", b"trace-1"), (b"x-name", "é".encode())]
    assert passed_on(*headers) == headers


@pytest.mark.parametrize(
    "header",
    [
        (b"x-request-id", b"\xff\xfe"),
        (b"x-request-id", b"a b"),
        (b"x-request-id", b""),
        (b"x-request-id", b"x" * 129),
        (b"x-request-timeout-seconds", b"\xff"),
    ],
)
def test_odd_headers_are_dropped(header: tuple[bytes, bytes]) -> None:
    assert passed_on((b"host", b"a"), header) == [(b"host", b"a")]


def test_ray_serve_gets_it_by_import_path() -> None:
    assert [middleware.cls for middleware in middlewares()] == [CleanHeaders]
