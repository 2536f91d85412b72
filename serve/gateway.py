"""The HTTP interface as one FastAPI application; the same under Ray Serve and plain uvicorn."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from starlette import requests
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.messages import Accepted, Answer, Events, Request, RequestError
from serve.metrics import CONTENT_TYPE, Metrics

MAX_BODY_BYTES = 2 << 20
MAX_DRAINED_BYTES = 64 << 20
MAX_PROBLEMS = 20
REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
CLIENT_CLOSED_REQUEST = 499
REFUSALS: dict[int | str, dict[str, Any]] = {
    413: {"description": f"body over {MAX_BODY_BYTES} bytes"},
    422: {"description": "wrong body: the problems with their fields' paths"},
    429: {"description": "overload; Retry-After says when to come back"},
}

M = TypeVar("M", bound=BaseModel)


class Service(Protocol):
    """What the gateway speaks for."""

    metrics: Metrics

    async def recommend(self, request: Request, request_id: str) -> Answer:
        """Answer one request."""
        ...

    async def record(self, events: Events) -> int:
        """Write events into their users' histories; return how many."""
        ...

    def health(self) -> dict[str, str]:
        """Tell what is served."""
        ...


class BodyTooLargeError(Exception):
    """The body exceeds MAX_BODY_BYTES."""


class Gateway:
    """Turns HTTP requests into messages and answers into responses."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def recommendations(self, request: requests.Request) -> Response:
        """Answer what this user should see."""
        with self.service.metrics.in_flight():
            return await _guarded(self._recommendations, request)

    async def events(self, request: requests.Request) -> Response:
        """Write events into their users' histories: the next answer knows them."""
        with self.service.metrics.in_flight():
            return await _guarded(self._events, request)

    async def health(self) -> Response:
        """Tell that this replica answers, and from which bundle."""
        return JSONResponse({"status": "ok", **self.service.health()})

    async def metrics(self) -> Response:
        """Tell what was counted, in Prometheus' text form."""
        return Response(self.service.metrics.render(), media_type=CONTENT_TYPE)

    async def _recommendations(self, request: requests.Request) -> Response:
        message = await _message(request, Request)
        return _json(await self.service.recommend(message, _request_id(request)))

    async def _events(self, request: requests.Request) -> Response:
        events = await _message(request, Events)
        return _json(Accepted(accepted=await self.service.record(events)), status=202)


def gateway_app(service: Service) -> ASGIApp:
    """Build the application of DESIGN's "Serving" around a service."""
    gateway = Gateway(service)
    app = GatewayApp(title="Millrace", description="What should this user see now?")
    post: dict[str, Any] = {"methods": ["POST"], "responses": REFUSALS}
    app.add_api_route(
        "/v1/recommendations",
        gateway.recommendations,
        response_model=Answer,
        openapi_extra=_body(Request),
        **post,
    )
    app.add_api_route(
        "/v1/events",
        gateway.events,
        response_model=Accepted,
        status_code=202,
        openapi_extra=_body(Events),
        **post,
    )
    app.add_api_route("/v1/health", gateway.health, response_model=dict[str, str])
    app.add_api_route("/metrics", gateway.metrics, response_class=Response)
    app.add_middleware(Observed, metrics=service.metrics)
    return app


class GatewayApp(FastAPI):
    """Describes the bodies too, which the handlers read for themselves (faster, and bounded)."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI schema behind `/docs`."""
        schema = super().openapi()
        components = schema["components"]["schemas"]
        for model in (Request, Events):
            body = model.model_json_schema(ref_template="#/components/schemas/{model}")
            components.update({**body.pop("$defs", {}), model.__name__: body})
        return schema


class Observed:
    """Counts and times every HTTP request by its route and status."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, watching the status of its answer."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        started, status = time.perf_counter(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics.observe_request(route, status, time.perf_counter() - started)


async def _guarded(
    handle: Callable[[requests.Request], Awaitable[Response]], request: requests.Request
) -> Response:
    """Answer what is wrong with a request in one form: problems with their fields' paths."""
    try:
        return await handle(request)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        return _refusal(422, [(p["type"], p["loc"], p["msg"]) for p in problems[:MAX_PROBLEMS]])
    except RequestError as error:
        return _refusal(422, [("value_error", error.path, error.message)])
    except BodyTooLargeError:
        return _refusal(413, [("too_long", (), f"body exceeds {MAX_BODY_BYTES} bytes")])
    except requests.ClientDisconnect:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _message(request: requests.Request, model: type[M]) -> M:
    return model.model_validate_json(await _read(request))


async def _read(request: requests.Request) -> bytes:
    """Read the body; drain one that is too large, so that its sender gets to read the refusal."""
    body, num_bytes = bytearray(), 0
    async for chunk in request.stream():
        num_bytes += len(chunk)
        if num_bytes > MAX_DRAINED_BYTES:
            break
        if num_bytes <= MAX_BODY_BYTES:
            body += chunk
    if num_bytes > MAX_BODY_BYTES:
        raise BodyTooLargeError
    return bytes(body)


def _request_id(request: requests.Request) -> str:
    given = request.headers.get("x-request-id", "")
    return given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _json(message: BaseModel, status: int = 200) -> Response:
    return Response(message.model_dump_json(), status, media_type="application/json")


def _refusal(status: int, problems: list[tuple[str, tuple[str | int, ...], str]]) -> Response:
    detail = [{"type": kind, "loc": ["body", *path], "msg": text} for kind, path, text in problems]
    return JSONResponse({"detail": detail}, status)


def _body(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
