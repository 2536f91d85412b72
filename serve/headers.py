"""Cleans request headers before Ray Serve reads them: it answers 500 to those it cannot decode."""

import re

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

REQUEST_ID_HEADER = b"x-request-id"
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class CleanHeaders:
    """Drops header values that are not UTF-8 and request ids that no log should hold."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without them."""
        if scope["type"] == "http":
            scope["headers"] = [pair for pair in scope["headers"] if _is_clean(*pair)]
        await self.app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return what Ray Serve puts in front of a replica's application, by import path."""
    return [Middleware(CleanHeaders)]


def _is_clean(name: bytes, value: bytes) -> bool:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return False
    return name != REQUEST_ID_HEADER or REQUEST_ID.fullmatch(text) is not None
