"""Which HTTP request this code works for, so that its log lines and spans find each other."""

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True)
class Correlation:
    """One request's id, and the trace that its caller follows (W3C `traceparent`)."""

    request_id: str
    traceparent: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> "Correlation":
        """Take the client's request id, or make one where it has none that a log should hold."""
        given = headers.get("x-request-id", "")
        is_fit = REQUEST_ID.fullmatch(given) is not None
        return cls(given if is_fit else uuid.uuid4().hex, headers.get("traceparent"))


CURRENT: ContextVar[Correlation | None] = ContextVar("correlation", default=None)
"""Follows a request through its coroutines, and to other replicas; unset elsewhere."""


@contextmanager
def correlated(correlation: Correlation | None) -> Iterator[None]:
    """Work for one request, or for none, for the block."""
    token = CURRENT.set(correlation)
    try:
        yield
    finally:
        CURRENT.reset(token)
