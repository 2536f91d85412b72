"""Watches every HTTP request: counts it, and tells its line of the log."""

import logging
import time
import zlib
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.correlation import Correlation, correlated
from serve.logs import FIELDS, LogConfig
from serve.metrics import Metrics

QUIET_ROUTES = ("/v1/health", "/v1/versions", "/metrics", "/docs", "/openapi.json")
"""Asked by machines every second; their lines would hide the others."""
FAILED = 500
logger = logging.getLogger(__name__)


class AccessLog:
    """Writes one line per request that is to have one; it names no user.

    Args:
        config: which requests.
    """

    def __init__(self, config: LogConfig) -> None:
        self.config = config
        logger.setLevel(logging.INFO)

    def write(self, request_id: str, *, status: int, ms: float, fields: dict[str, Any]) -> None:
        """Write a request's line, or leave it out."""
        is_notable = status >= FAILED or ms >= self.config.slow
        if is_notable or self._is_sampled(request_id):
            said = {"request_id": request_id, "status": status, "ms": round(ms, 3), **fields}
            logger.info("request", extra={FIELDS: said})

    def _is_sampled(self, request_id: str) -> bool:
        return zlib.crc32(request_id.encode()) < self.config.sample * 2**32


class Observed:
    """Counts, times and logs the requests of an application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access: AccessLog) -> None:
        self.app = app
        self.metrics = metrics
        self.access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, watching the status of its answer."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), FAILED
        correlation = Correlation.of(Headers(scope=scope))
        state = scope.setdefault("state", {})
        state["correlation"] = correlation

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with correlated(correlation):
                await self.app(scope, receive, watch)
        finally:
            seconds = time.perf_counter() - started
            self._tell(scope, status, seconds)

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path_format", "unknown")
        self.metrics.observe_request(route, status, seconds)
        if route not in QUIET_ROUTES or status >= FAILED:
            state = scope["state"]
            fields = {"route": route, "method": scope["method"], **state.get(FIELDS, {})}
            request_id = state["correlation"].request_id
            self.access.write(request_id, status=status, ms=1000 * seconds, fields=fields)
