"""Answers in bulk are the service's own, and a chunk is done when all of it is kept."""

import asyncio
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from features.stores.memory import MemoryStore
from features.stores.record import UserEvent
from serve.bulk import Bulk, Terms
from serve.chunks import FACT, Chunks, Order
from serve.config import ServeSettings
from serve.edition import Edition, Manifest
from serve.equipment import Equipment
from serve.hydration import UserSource
from serve.messages import Answer, Request
from serve.metrics import Metrics
from serve.service import Service
from serve.shared import Shared
from tests.toy_bundle import DATA_END_MS, TASKS, ToyBundle
from tests.unit.serve.conftest import StoppedClock

NOW_MS = DATA_END_MS + 5_000
USERS = [7, 8, 9, "ann"]
TERMS = Terms(5, {"surface": "search"}, NOW_MS)


@pytest.fixture
def settings(tmp_path: Path) -> ServeSettings:
    return ServeSettings.model_validate(
        {
            "recommender": "toy",
            "storage": {"root": str(tmp_path)},
            "dataset": {"format": "synthetic"},
            "tasks": [task.model_dump() for task in TASKS],
            "retrieval": {"positive": "click"},
            "serve": {"budget": 60_000},
        }
    )


@pytest.fixture
def equipment(
    settings: ServeSettings, bundle: ToyBundle, users: UserSource, clock: StoppedClock
) -> Equipment:
    """The toy bundle, and a store in which users have liked different items."""
    clock.instant_ms = NOW_MS
    made = Equipment(settings, bundle, Shared(settings))
    vars(made)["users"] = users
    for number, user_id in enumerate(USERS[:3]):
        liked = [UserEvent(str(159 - number), DATA_END_MS - 9, {"click": 1.0})]
        users.store.update({str(user_id): lambda r, e=liked: users.recorder.appended(r, e)})
    return made


@pytest.fixture
def bulk(equipment: Equipment) -> Bulk:
    return Bulk(equipment, TERMS)


def asked_one_by_one(equipment: Equipment) -> list[Answer]:
    """Ask the service's own pipeline."""
    stages = equipment.local()
    service = Service(equipment, stages, Metrics())
    asked = [Request(user_id=u, num_items=5, context=dict(TERMS.context)) for u in USERS]
    answers = [asyncio.run(service.recommend(request, "r")) for request in asked]
    stages.threads.close()
    return answers


def test_answers_are_those_of_the_service(equipment: Equipment, bulk: Bulk) -> None:
    expected = asked_one_by_one(equipment)
    found = bulk.answers(USERS)
    assert [answer.items for answer in found] == [answer.items for answer in expected]
    assert len({tuple(item.item_id for item in answer.items) for answer in found}) > 1
    assert {answer.degraded for answer in found} == {None}


def test_what_is_withdrawn_is_in_no_answer(equipment: Equipment, bulk: Bulk) -> None:
    shown = bulk.answers(USERS[:1])[0].items[0].item_id
    equipment.withdrawals.withdraw(shown)
    assert shown not in [item.item_id for item in bulk.answers(USERS[:1])[0].items]


def test_time_in_stages_is_told_once(bulk: Bulk) -> None:
    bulk.answers(USERS)
    taken = bulk.tally.take()
    assert set(taken) == {"hydrate", "retrieve", "filter", "rank", "rerank"}
    assert all(ms > 0 for ms in taken.values())
    assert bulk.tally.take() == {}


def chunks_of(
    settings: ServeSettings, equipment: Equipment, edition: Edition, *, is_stored: bool
) -> Chunks:
    order = Order(settings, equipment.bundle.id, edition, TERMS, is_stored)
    return Chunks(order, equipment)


@pytest.fixture
def edition(tmp_path: Path) -> Edition:
    made = Edition(str(tmp_path / "answers"))
    made.begin(Manifest("id", "bundle", 3, 2, NOW_MS), pa.array([7, 8, 9]), chunk_users=2)
    return made


def test_a_chunk_goes_to_parquet_and_into_the_store(
    settings: ServeSettings, equipment: Equipment, edition: Edition, tmp_path: Path
) -> None:
    made = chunks_of(settings, equipment, edition, is_stored=True).make(0)
    assert (made["users"], made["degraded"]) == (2, 0)
    assert edition.pending() == {1: 1}
    rows = parquet.read_table(tmp_path / "answers").to_pylist()
    assert [row["user_id"] for row in rows] == [7, 8]
    expected = asked_one_by_one(equipment)[0]
    first = rows[0]
    assert (first["degraded"], first["bundle"]) == (None, equipment.bundle.id)
    assert int(first["made_at"].timestamp() * 1000) == NOW_MS
    names = [f"pred_{task.name}" for task in TASKS]
    assert list(first["items"][0]) == ["item_id", "score", "source", *names]
    assert [item["item_id"] for item in first["items"]] == [i.item_id for i in expected.items]
    assert first["items"][0]["pred_like"] == expected.items[0].predictions["like"]
    kept = equipment.precomputed.of(7)
    assert kept is not None
    assert list(kept.item_ids) == [str(item.item_id) for item in expected.items]
    assert (kept.bundle, kept.made_ms) == (equipment.bundle.id, NOW_MS)
    assert equipment.precomputed.of(9) is None
    assert equipment.users.store.fact(FACT)


def test_the_store_is_left_as_it_is_where_that_is_asked_for(
    settings: ServeSettings, equipment: Equipment, edition: Edition
) -> None:
    chunks_of(settings, equipment, edition, is_stored=False).make(0)
    assert equipment.precomputed.of(7) is None
    assert edition.pending() == {1: 1}


class FullStore(MemoryStore):
    """A store that takes no answers."""

    def keep_answers(self, answers: object) -> None:
        """Fail."""
        raise OSError("full")


def test_a_chunk_is_not_done_before_the_store_has_it(
    settings: ServeSettings, equipment: Equipment, edition: Edition
) -> None:
    users = equipment.users
    vars(equipment)["users"] = UserSource(FullStore(), users.recorder, users.clock)
    with pytest.raises(OSError, match="full"):
        chunks_of(settings, equipment, edition, is_stored=True).make(0)
    assert edition.pending() == {0: 2, 1: 1}


class NoIndex:
    """Stages that fail from the first on."""

    def __getattr__(self, name: str) -> Any:
        async def fail(*_: object) -> Any:
            raise OSError(name)

        return fail


def test_degraded_answers_are_told_and_not_stored(
    settings: ServeSettings, equipment: Equipment, edition: Edition, tmp_path: Path
) -> None:
    chunks = chunks_of(settings, equipment, edition, is_stored=True)
    chunks.bulk.pipeline.stages = NoIndex()
    made = chunks.make(0)
    assert made["degraded"] == 2
    assert equipment.precomputed.of(7) is None
    rows = parquet.read_table(tmp_path / "answers").to_pylist()
    assert {row["degraded"] for row in rows} == {"hydrate failed"}
