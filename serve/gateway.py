"""The HTTP interface as one FastAPI application; the same under Ray Serve and plain uvicorn."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel, ValidationError
from starlette import requests
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from serve.access import AccessLog, Observed
from serve.admission import OverloadedError
from serve.logs import FIELDS
from serve.messages import Accepted, Answer, Events, Request, RequestError
from serve.metrics import CONTENT_TYPE, Metrics

MAX_BODY_BYTES = 2 << 20
MAX_DRAINED_BYTES = 64 << 20
MAX_PROBLEMS = 20
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
    access: AccessLog

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
        answer = await self.service.recommend(message, request.state.correlation.request_id)
        setattr(request.state, FIELDS, _fields(answer))
        return _json(answer)

    async def _events(self, request: requests.Request) -> Response:
        events = await _message(request, Events)
        accepted = await self.service.record(events)
        setattr(request.state, FIELDS, {"num_events": accepted})
        return _json(Accepted(accepted=accepted), status=202)


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
    app.add_middleware(Observed, metrics=service.metrics, access=service.access)
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
    except OverloadedError as error:
        return _overloaded(error)
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


def _fields(answer: Answer) -> dict[str, Any]:
    """Return what the log's line tells of an answer."""
    return {
        "bundle": answer.bundle,
        "degraded": answer.degraded,
        "num_items": len(answer.items),
        "timings_ms": answer.timings_ms,
    }


def _json(message: BaseModel, status: int = 200) -> Response:
    return Response(message.model_dump_json(), status, media_type="application/json")


def _refusal(status: int, problems: list[tuple[str, tuple[str | int, ...], str]]) -> Response:
    detail = [{"type": kind, "loc": ["body", *path], "msg": text} for kind, path, text in problems]
    return JSONResponse({"detail": detail}, status)


def _overloaded(error: OverloadedError) -> Response:
    detail = [{"type": "overload", "loc": [], "msg": f"overload: {error}"}]
    return JSONResponse({"detail": detail}, 429, {"Retry-After": str(error.retry_after_s)})


def _body(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
