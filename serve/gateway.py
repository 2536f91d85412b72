"""The HTTP interface as one FastAPI application; the same under Ray Serve and plain uvicorn."""

from typing import Any, Protocol, TypeVar

from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette import requests
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from serve.access import AccessLog, Observed
from serve.fields import TEXT, Identifier
from serve.logs import FIELDS
from serve.messages import Accepted, Answer, Events, Request, Upsert
from serve.metrics import CONTENT_TYPE, Metrics
from serve.refusals import (
    MAX_BODY_BYTES,
    REFUSALS,
    UNKNOWN_ITEM,
    BodyTooLargeError,
    PathError,
    guarded,
)

MAX_DRAINED_BYTES = 64 << 20
ITEM_ID = {"parameters": [{"name": "item_id", "in": "path", "required": True, "schema": TEXT}]}

M = TypeVar("M", bound=BaseModel)
IDENTIFIER: TypeAdapter[int | str] = TypeAdapter(Identifier)


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

    async def withdraw(self, item_id: int | str) -> None:
        """Show an item no more, from the next request on."""
        ...

    async def restore(self, item_id: int | str) -> None:
        """Show a withdrawn item again."""
        ...

    def health(self) -> dict[str, str]:
        """Tell what is served."""
        ...

    def versions(self) -> dict[str, Any]:
        """Tell which bundles there are."""
        ...


class Gateway:
    """Turns HTTP requests into messages and answers into responses."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def recommendations(self, request: requests.Request) -> Response:
        """Answer what this user should see."""
        with self.service.metrics.in_flight():
            return await guarded(self._recommendations, request)

    async def events(self, request: requests.Request) -> Response:
        """Write events into their users' histories: the next answer knows them."""
        with self.service.metrics.in_flight():
            return await guarded(self._events, request)

    async def withdraw(self, request: requests.Request) -> Response:
        """Show an item no more, from the next request on and in every bundle."""
        return await guarded(self._withdraw, request)

    async def restore(self, request: requests.Request) -> Response:
        """Show an item of the catalogue again that was withdrawn."""
        return await guarded(self._restore, request)

    async def health(self) -> Response:
        """Tell that this replica answers, and from which bundle."""
        return JSONResponse({"status": "ok", **self.service.health()})

    async def versions(self) -> Response:
        """Tell which bundle answers, which others are open, and which were refused."""
        return JSONResponse(self.service.versions())

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

    async def _withdraw(self, request: requests.Request) -> Response:
        await self.service.withdraw(_item_id(request))
        return Response(status_code=204)

    async def _restore(self, request: requests.Request) -> Response:
        item_id = _item_id(request)
        Upsert.model_validate_json(await _read(request) or b"{}")
        await self.service.restore(item_id)
        return Response(status_code=204)


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
    item: dict[str, Any] = {
        "path": "/v1/items/{item_id:path}",
        "status_code": 204,
        "response_class": Response,
        "responses": {**UNKNOWN_ITEM, **REFUSALS},
    }
    app.add_api_route(
        endpoint=gateway.restore,
        methods=["PUT"],
        openapi_extra=ITEM_ID | _body(Upsert, is_required=False),
        **item,
    )
    app.add_api_route(endpoint=gateway.withdraw, methods=["DELETE"], openapi_extra=ITEM_ID, **item)
    app.add_api_route("/v1/health", gateway.health, response_model=dict[str, str])
    app.add_api_route("/v1/versions", gateway.versions, response_model=dict[str, Any])
    app.add_api_route("/metrics", gateway.metrics, response_class=Response)
    app.add_middleware(Observed, metrics=service.metrics, access=service.access)
    return app


class GatewayApp(FastAPI):
    """Describes the bodies too, which the handlers read for themselves (faster, and bounded)."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI schema behind `/docs`."""
        schema = super().openapi()
        components = schema["components"]["schemas"]
        for model in (Request, Events, Upsert):
            body = model.model_json_schema(ref_template="#/components/schemas/{model}")
            components.update({**body.pop("$defs", {}), model.__name__: body})
        return schema


async def _message(request: requests.Request, model: type[M]) -> M:
    return model.model_validate_json(await _read(request))


def _item_id(request: requests.Request) -> int | str:
    try:
        return IDENTIFIER.validate_python(request.path_params["item_id"])
    except ValidationError as error:
        raise PathError("item_id", error) from None


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


def _body(model: type[BaseModel], *, is_required: bool = True) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    return {"requestBody": {"required": is_required, "content": content}}
