"""The service over real sockets: HAProxy, Ray Serve, the gateway and a published bundle."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.ports import free_port
from cluster.storage import Storage
from features.examples import Examples
from serve.client import Client, ServiceProcess, serve_command

pytestmark = [pytest.mark.integration, pytest.mark.alone]

TINY = Path(__file__).resolve().parent.parent / "tiny.toml"
RECOMMENDATIONS = "/v1/recommendations"


@pytest.fixture(scope="module")
def service(tiny_bundle_root: Path) -> Iterator[Client]:
    """The fused topology over the tiny world."""
    overrides = [f"storage.root={tiny_bundle_root}", "serve.budget=5s"]
    port = free_port("127.0.0.1")
    with ServiceProcess(serve_command(TINY, port, overrides), port) as client:
        yield client


@pytest.fixture(scope="module")
def examples(tiny_bundle_root: Path) -> Examples:
    return Examples.open(Storage(str(tiny_bundle_root), "tiny"))


@pytest.fixture(scope="module")
def user_id(examples: Examples) -> Any:
    """The user with the longest history."""
    return examples.user_ids[int(examples.user_train_events[1:].argmax())]


def ask(service: Client, **body: Any) -> dict[str, Any]:
    status, answer = service.post(RECOMMENDATIONS, body)
    assert status == 200, answer
    return dict(answer)


def item_ids(answer: dict[str, Any]) -> list[Any]:
    return [item["item_id"] for item in answer["items"]]


def raw(service: Client, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
        connection.sendall(data)
        return connection.recv(65_536)


def test_a_known_user_is_answered_in_the_documented_form(service: Client, user_id: Any) -> None:
    answer = ask(service, user_id=user_id, num_items=10)
    assert set(answer) == {"request_id", "bundle", "items", "degraded", "timings_ms"}
    assert answer["degraded"] is None
    assert {"hydrate", "retrieve", "filter", "rank", "rerank"} <= set(answer["timings_ms"])
    assert len(set(item_ids(answer))) == 10
    first = answer["items"][0]
    assert set(first["predictions"]) == {"click", "like", "watch_time"}
    assert 0 < first["predictions"]["click"] < 1
    assert first["title"]


def test_an_unknown_user_is_not_an_error(service: Client) -> None:
    answer = ask(service, user_id="nobody-has-seen-me", context={"surface": "never-seen"})
    assert len(answer["items"]) == 20
    assert answer["degraded"] is None


def test_health_names_the_bundle_that_answers(service: Client, user_id: Any) -> None:
    status, body = service.get("/v1/health")
    health = json.loads(body)
    assert (status, health["status"], health["topology"]) == (200, "ok", "fused")
    assert health["bundle"] == ask(service, user_id=user_id)["bundle"]


def test_excluded_items_are_not_shown(service: Client, user_id: Any) -> None:
    shown = item_ids(ask(service, user_id=user_id))
    again = item_ids(ask(service, user_id=user_id, exclude=shown))
    assert not set(shown) & set(again)


def test_the_next_answer_knows_the_events(service: Client, examples: Examples) -> None:
    user_id = examples.user_ids[5]
    before = item_ids(ask(service, user_id=user_id))
    clicks = [{"user_id": user_id, "item_id": i, "click": 1} for i in before[:5]]
    assert service.post("/v1/events", {"events": clicks}) == (202, {"accepted": 5})
    after = item_ids(ask(service, user_id=user_id))
    assert not set(before[:5]) & set(after)
    assert after != before


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"user_id": 1, "num_items": 10**9}, ["body", "num_items"]),
        ({"user_id": 1, "exclude": list(range(100_000))}, ["body", "exclude"]),
        ({"user_id": [1]}, ["body", "user_id"]),
        ({"user_id": 1, "colour": "red"}, ["body", "colour"]),
        ({"user_id": 1, "filters": {"planet": "mars"}}, ["body", "filters", "planet"]),
    ],
)
def test_wrong_bodies_are_refused_with_the_field_s_path(
    service: Client, body: dict[str, Any], path: list[str]
) -> None:
    status, answer = service.post(RECOMMENDATIONS, body)
    assert status == 422
    assert path in [problem["loc"] for problem in answer["detail"]]


def test_events_with_an_unknown_label_are_refused(service: Client) -> None:
    body = {"events": [{"user_id": 1, "item_id": 1, "clicked": 1}]}
    status, answer = service.post("/v1/events", body)
    assert status == 422
    assert answer["detail"][0]["loc"][:3] == ["body", "events", 0]


def test_a_million_exclusions_are_refused(service: Client) -> None:
    status, answer = service.post(
        RECOMMENDATIONS, {"user_id": 1, "exclude": list(range(1_000_000))}
    )
    assert status in (413, 422)
    assert answer["detail"]


def test_malformed_requests_are_never_internal_errors(service: Client) -> None:
    post = b"POST /v1/recommendations HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    for rest in (
        b"Content-Length: 1\r\n\r\n{",
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 4\r\n\r\n\xff\xfe\x00\x01",
        b"Content-Length: x\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        b"x-request-id: \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
        b"x-request-timeout-seconds: \xff\r\nContent-Length: 2\r\n\r\n{}",
        b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    ):
        status = raw(service, post + rest).split(b" ")[1]
        assert status in (b"400", b"422"), (rest, status)


def test_wrong_routes_and_methods(service: Client) -> None:
    assert service.get("/nowhere")[0] == 404
    assert service.get(RECOMMENDATIONS)[0] == 405
    assert service.get("/docs")[0] == 200


def test_metrics_tell_stages_requests_and_sources(service: Client, user_id: Any) -> None:
    ask(service, user_id=user_id)
    status, body = service.get("/metrics")
    text = body.decode()
    assert status == 200
    for stage in ("hydrate", "retrieve", "filter", "rank", "rerank"):
        assert f'millrace_stage_seconds_count{{stage="{stage}"}}' in text
        assert f'millrace_stage_dropped_total{{stage="{stage}"}}' in text
    assert 'millrace_requests_total{route="/v1/recommendations",status="200"}' in text
    assert "millrace_served_items_total{source=" in text
