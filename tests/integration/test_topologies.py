"""Several topologies, side by side on one Ray, give the same answers."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster.ports import free_port
from cluster.storage import Storage
from features.examples import Examples
from serve.client import Client

pytestmark = [pytest.mark.integration, pytest.mark.alone]

TOPOLOGIES = ("fused", "split", "mixed")


@dataclass(frozen=True)
class All:
    """The applications on one port."""

    client: Client
    deployments: dict[str, list[str]]

    def ask(self, topology: str, **body: Any) -> tuple[int, dict[str, Any]]:
        """Ask one of them."""
        return self.client.post(f"/{topology}/v1/recommendations", body)


@pytest.fixture(scope="module")
def served(tiny_bundle_root: Path) -> Iterator[All]:
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "tests.topologies", str(tiny_bundle_root), str(port)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "it ended before every topology answered"
        yield All(Client(port), json.loads(line))


@pytest.fixture(scope="module")
def users(tiny_bundle_root: Path) -> list[Any]:
    examples = Examples.open(Storage(str(tiny_bundle_root), "tiny"))
    return [*examples.user_ids[:10].to_list(), "nobody-has-seen-me"]


def test_answers_are_identical(served: All, users: list[Any]) -> None:
    for user_id in users:
        _, fused = served.ask("fused", user_id=user_id, explain=True)
        assert len(fused["items"]) == 20
        for topology in TOPOLOGIES:
            _, answer = served.ask(topology, user_id=user_id, explain=True)
            assert answer["degraded"] is None
            assert answer["bundle"] == fused["bundle"]
            for one, other in zip(fused["items"], answer["items"], strict=True):
                assert one["item_id"] == other["item_id"]
                assert one["score"] == pytest.approx(other["score"], abs=1e-5)
                assert one["predictions"] == pytest.approx(other["predictions"], abs=1e-4)
                for name in ("source", "title", "reasons"):
                    assert one[name] == other[name]


def test_explanations_are_identical(served: All, users: list[Any]) -> None:
    _, plain = served.ask("fused", user_id=users[0], num_items=50)
    asked = ["no-such-item", *(item["item_id"] for item in plain["items"][3:])]
    body = {"user_id": users[0], "num_items": 5, "explain": True, "why_not": asked}
    _, fused = served.ask("fused", **body)
    assert len(fused["why_not"]) == len(asked)
    for topology in TOPOLOGIES:
        _, answer = served.ask(topology, **body)
        for name in ("stage", "reason", "steps"):
            assert [v[name] for v in fused["why_not"]] == [v[name] for v in answer["why_not"]]
        for one, other in zip(fused["items"], answer["items"], strict=True):
            assert one["explanation"]["steps"] == other["explanation"]["steps"]
            assert len(one["explanation"]["steps"]) == 4


def test_all_report_every_stage(served: All, users: list[Any]) -> None:
    for topology in TOPOLOGIES:
        _, answer = served.ask(topology, user_id=users[0])
        assert list(answer["timings_ms"])[:5] == ["hydrate", "retrieve", "filter", "rank", "rerank"]


def test_a_wrong_request_is_refused_alike(served: All) -> None:
    answers = [
        served.ask(topology, user_id=1, filters={"planet": "mars"}) for topology in TOPOLOGIES
    ]
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 422
    assert answers[0][1]["detail"][0]["loc"] == ["body", "filters", "planet"]


def test_events_reach_the_retriever_of_the_split_topology(served: All, users: list[Any]) -> None:
    _, before = served.ask("split", user_id=users[3])
    shown = [item["item_id"] for item in before["items"][:5]]
    events = [{"user_id": users[3], "item_id": item_id, "click": 1} for item_id in shown]
    assert served.client.post("/split/v1/events", {"events": events})[0] == 202
    for topology in TOPOLOGIES:
        _, after = served.ask(topology, user_id=users[3])
        assert not set(shown) & {item["item_id"] for item in after["items"]}


def test_a_repeated_answer_is_what_would_be_computed(served: All, users: list[Any]) -> None:
    served.ask("mixed", user_id=users[6])
    _, repeated = served.ask("mixed", user_id=users[6])
    _, computed = served.ask("fused", user_id=users[6])
    assert set(repeated["timings_ms"]) == {"cache", "total"}
    assert repeated["request_id"] != computed["request_id"]
    for one, other in zip(repeated["items"], computed["items"], strict=True):
        assert one["item_id"] == other["item_id"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    shown = repeated["items"][0]["item_id"]
    events = [{"user_id": users[6], "item_id": shown, "click": 1}]
    assert served.client.post("/fused/v1/events", {"events": events})[0] == 202
    _, after = served.ask("mixed", user_id=users[6])
    assert "hydrate" in after["timings_ms"]
    assert shown not in [item["item_id"] for item in after["items"]]


def test_a_withdrawn_item_is_shown_by_no_replica_until_it_is_restored(
    served: All, users: list[Any]
) -> None:
    before = {topology: served.ask(topology, user_id=users[4])[1] for topology in TOPOLOGIES}
    withdrawn, kept = (item["item_id"] for item in before["fused"]["items"][:2])
    assert served.client.delete(f"/split/v1/items/{withdrawn}") == 204
    for topology in TOPOLOGIES:
        _, after = served.ask(topology, user_id=users[4])
        shown = [item["item_id"] for item in after["items"]]
        assert withdrawn not in shown
        assert kept in shown
    assert served.client.put(f"/mixed/v1/items/{withdrawn}", {}) == 204
    for topology in TOPOLOGIES:
        _, again = served.ask(topology, user_id=users[4])
        assert withdrawn in [item["item_id"] for item in again["items"]]
    assert served.client.delete("/fused/v1/items/no-such-item") == 404


def test_the_stages_lie_where_the_config_puts_them(served: All) -> None:
    assert served.deployments["fused"] == ["gateway", "versions"]
    assert served.deployments["split"] == ["gateway", "ranker", "reranker", "retriever", "versions"]
    assert served.deployments["mixed"] == ["gateway", "models", "rules", "versions"]
