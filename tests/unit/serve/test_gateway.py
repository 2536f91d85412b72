"""The HTTP interface over a fake service: every wrong body is a 4xx that names the field."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve.access import AccessLog
from serve.admission import OverloadedError
from serve.gateway import gateway_app
from serve.logs import FIELDS, LogConfig
from serve.messages import Answer, Events, Item, Request, RequestError
from serve.metrics import Metrics
from serve.refusals import MAX_BODY_BYTES
from serve.withdrawals import UnknownItemError

PATHS = ("/v1/recommendations", "/v1/events")


class EchoService:
    """Answers every request with one item that names the user."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.access = AccessLog(LogConfig())
        self.recorded: list[Events] = []
        self.changes: list[tuple[str, int | str]] = []
        self.app = gateway_app(self)

    async def recommend(self, request: Request, request_id: str) -> Answer:
        """Echo the user."""
        if request.user_id == "overload":
            raise OverloadedError("too many in flight")
        if "planet" in request.filters:
            raise RequestError(("filters", "planet"), "no such attribute")
        item = Item(item_id=request.user_id, score=1.0, predictions={"click": 0.5}, source="fake")
        return Answer(request_id=request_id, bundle="b", items=[item], timings_ms={"rank": 1.0})

    async def record(self, events: Events) -> int:
        """Keep the events."""
        self.recorded.append(events)
        return len(events.events)

    async def withdraw(self, item_id: int | str) -> None:
        """Know all items but one."""
        self.changed("withdrawn", item_id)

    async def restore(self, item_id: int | str) -> None:
        """Know all items but one."""
        self.changed("restored", item_id)

    def changed(self, change: str, item_id: int | str) -> None:
        """Note a change."""
        if item_id == "unheard-of":
            raise UnknownItemError("unheard-of")
        self.changes.append((change, item_id))

    def health(self) -> dict[str, str]:
        """Name the bundle."""
        return {"bundle": "b"}

    def versions(self) -> dict[str, Any]:
        """Name it again."""
        return {"answering": "b"}


@pytest.fixture
def service() -> EchoService:
    return EchoService()


def call(service: EchoService, method: str, path: str, **options: Any) -> httpx.Response:
    async def exchange() -> httpx.Response:
        transport = httpx.ASGITransport(service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, **options)

    return asyncio.run(exchange())


def problems(response: httpx.Response) -> list[tuple[Any, ...]]:
    return [tuple(problem["loc"]) for problem in response.json()["detail"]]


def test_a_request_is_answered_with_the_client_s_request_id(service: EchoService) -> None:
    headers = {"x-request-id": "trace-17"}
    response = call(service, "POST", PATHS[0], json={"user_id": 7}, headers=headers)
    assert response.status_code == 200
    assert response.json()["request_id"] == "trace-17"
    assert response.json()["items"][0]["item_id"] == 7
    assert response.json()["degraded"] is None


@pytest.mark.parametrize("given_id", ["", "a b", "x" * 129, "{}", "a\tb"])
def test_an_odd_request_id_is_replaced(service: EchoService, given_id: str) -> None:
    headers = {"x-request-id": given_id}
    response = call(service, "POST", PATHS[0], json={"user_id": 7}, headers=headers)
    assert len(response.json()["request_id"]) == 32


def test_overload_is_told_with_the_time_to_come_back(service: EchoService) -> None:
    response = call(service, "POST", PATHS[0], json={"user_id": "overload"})
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert response.json()["detail"][0]["msg"] == "overload: too many in flight"


def test_events_are_recorded_and_accepted(service: EchoService) -> None:
    body = {"events": [{"user_id": "u", "item_id": 3, "click": 1}]}
    response = call(service, "POST", PATHS[1], json=body)
    assert (response.status_code, response.json()) == (202, {"accepted": 1})
    assert service.recorded[0].events[0].item_id == 3


def test_items_are_withdrawn_and_restored_whatever_their_ids(service: EchoService) -> None:
    ids = ["3", "a b", "video%2F7", "%C3%A5"]
    for item_id in ids:
        assert call(service, "DELETE", f"/v1/items/{item_id}").status_code == 204
    assert call(service, "PUT", "/v1/items/3").status_code == 204
    response = call(service, "PUT", "/v1/items/video/7", json={})
    assert (response.status_code, response.content) == (204, b"")
    assert service.changes == [
        *(("withdrawn", item_id) for item_id in ["3", "a b", "video/7", "å"]),
        ("restored", "3"),
        ("restored", "video/7"),
    ]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_an_unknown_item_is_not_found(service: EchoService, method: str) -> None:
    response = call(service, method, "/v1/items/unheard-of")
    (problem,) = response.json()["detail"]
    assert (response.status_code, problem["loc"]) == (404, ["path", "item_id"])
    assert problem["msg"] == "the catalogue has no item 'unheard-of'"


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize("item_id", ["", "x" * 257, "%00", "a%01b"])
def test_an_odd_item_id_is_refused(service: EchoService, method: str, item_id: str) -> None:
    response = call(service, method, f"/v1/items/{item_id}")
    assert (response.status_code, problems(response)) == (422, [("path", "item_id")])
    assert not service.changes


@pytest.mark.parametrize(
    ("content", "path"),
    [(b'{"title": "New"}', ("body", "title")), (b"[]", ("body",)), (b"{", ("body",))],
)
def test_attributes_of_items_cannot_be_put(
    service: EchoService, content: bytes, path: tuple[str, ...]
) -> None:
    response = call(service, "PUT", "/v1/items/3", content=content)
    assert (response.status_code, problems(response)) == (422, [path])
    assert not service.changes


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, ("body", "user_id")),
        ({"user_id": None}, ("body", "user_id")),
        ({"user_id": True}, ("body", "user_id")),
        ({"user_id": 1.5}, ("body", "user_id")),
        ({"user_id": 10**400}, ("body", "user_id")),
        ({"user_id": 1, "num_items": 10**9}, ("body", "num_items")),
        ({"user_id": 1, "num_items": 0}, ("body", "num_items")),
        ({"user_id": 1, "num_items": "20"}, ("body", "num_items")),
        ({"user_id": 1, "exclude": list(range(10_001))}, ("body", "exclude")),
        ({"user_id": 1, "exclude": [1, {}]}, ("body", "exclude", 1)),
        ({"user_id": 1, "context": []}, ("body", "context")),
        ({"user_id": 1, "explain": "yes"}, ("body", "explain")),
        ({"user_id": 1, "why_not": [2]}, ("body", "why_not")),
        ({"user_id": 1, "colour": "red"}, ("body", "colour")),
        ({"user_id": 1, "filters": {"planet": "mars"}}, ("body", "filters", "planet")),
    ],
)
def test_a_wrong_field_is_named(
    service: EchoService, body: dict[str, Any], path: tuple[Any, ...]
) -> None:
    response = call(service, "POST", PATHS[0], json=body)
    assert response.status_code == 422
    assert path in problems(response)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"nonsense", b"[]", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000, b'{"a":NaN}',
     b'{"user_id": "\\ud800"}', b'\xef\xbb\xbf{"user_id": 1}'],
)  # fmt: skip
@pytest.mark.parametrize("path", PATHS)
def test_malformed_json_is_refused(service: EchoService, content: bytes, path: str) -> None:
    response = call(service, "POST", path, content=content)
    assert response.status_code == 422
    assert response.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_too_large_is_refused(service: EchoService, path: str) -> None:
    body = json.dumps({"user_id": 1, "exclude": list(range(1_000_000))})
    assert len(body) > MAX_BODY_BYTES
    assert call(service, "POST", path, content=body).status_code == 413


def test_many_problems_are_cut_short(service: EchoService) -> None:
    body = {"user_id": 1, "exclude": [[]] * 5_000}
    assert len(problems(call(service, "POST", PATHS[0], json=body))) == 20


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATHS[0], 405),
        ("DELETE", PATHS[1], 405),
        ("GET", "/nowhere", 404),
        ("POST", "/v1/items/3", 405),
    ],
)
def test_wrong_routes_and_methods(
    service: EchoService, method: str, path: str, status: int
) -> None:
    assert call(service, method, path).status_code == status


def test_health_names_the_bundle(service: EchoService) -> None:
    assert call(service, "GET", "/v1/health").json() == {"status": "ok", "bundle": "b"}


def test_metrics_count_requests_by_route_and_status(service: EchoService) -> None:
    call(service, "POST", PATHS[0], json={"user_id": 7})
    call(service, "POST", PATHS[0], json={"user_id": None})
    call(service, "GET", "/nowhere")
    text = call(service, "GET", "/metrics").text
    assert 'millrace_requests_total{route="/v1/recommendations",status="200"} 1.0' in text
    assert 'millrace_requests_total{route="/v1/recommendations",status="422"} 1.0' in text
    assert 'millrace_requests_total{route="unknown",status="404"} 1.0' in text


def test_a_request_gets_a_line_of_the_log(
    service: EchoService, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"x-request-id": "trace-17"}
    call(service, "POST", PATHS[0], json={"user_id": 7}, headers=headers)
    call(service, "POST", PATHS[0], json={"user_id": None}, headers=headers)
    call(service, "POST", PATHS[1], json={"events": [{"user_id": "u", "item_id": 3}]})
    call(service, "GET", "/v1/health")
    told = [getattr(record, FIELDS) for record in caplog.records if record.name == "serve.access"]
    answered, refused, recorded = told
    assert answered["request_id"] == refused["request_id"] == "trace-17"
    assert (answered["status"], answered["bundle"], answered["degraded"]) == (200, "b", None)
    assert answered["timings_ms"] == {"rank": 1.0}
    assert (refused["status"], refused["route"]) == (422, PATHS[0])
    assert (recorded["status"], recorded["num_events"]) == (202, 1)
    assert "7" not in str({**answered, "request_id": "", "ms": 0})


def test_the_documentation_describes_the_bodies(service: EchoService) -> None:
    assert call(service, "GET", "/docs").status_code == 200
    schema = call(service, "GET", "/openapi.json").json()
    body = schema["paths"][PATHS[0]]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["$ref"] == "#/components/schemas/Request"
    components = schema["components"]["schemas"]
    assert components["Request"]["properties"]["num_items"]["maximum"] == 500
    assert {"Event", "Events", "Answer", "Item", "Explanation", "Verdict"} <= set(components)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
names = st.sampled_from(
    ["user_id", "num_items", "context", "exclude", "filters", "explain", "events", "item_id",
     "timestamp", "type", "labels", "request_id", "click"]
) | st.text(max_size=8)  # fmt: skip
events = st.fixed_dictionaries({"events": st.lists(st.dictionaries(names, values), max_size=3)})
plausible = st.fixed_dictionaries(
    {"user_id": st.integers(0, 9)},
    optional={"exclude": values, "filters": values, "context": values},
)
bodies = st.dictionaries(names, values, max_size=6) | values | events | plausible


@pytest.fixture(scope="module")
def echo() -> EchoService:
    """One service for all that is drawn."""
    return EchoService()


@settings(max_examples=300, deadline=None)
@given(body=bodies, path=st.sampled_from(PATHS))
def test_no_json_body_is_an_internal_error(echo: EchoService, body: Any, path: str) -> None:
    response = call(echo, "POST", path, content=json.dumps(body))
    assert response.status_code in (200, 202, 422)
    assert isinstance(response.json(), dict)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), path=st.sampled_from(PATHS))
def test_no_bytes_are_an_internal_error(echo: EchoService, content: bytes, path: str) -> None:
    assert call(echo, "POST", path, content=content).status_code == 422
