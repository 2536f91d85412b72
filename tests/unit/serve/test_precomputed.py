"""Items that were computed before stand in for the stages before popular ones do."""

import asyncio
from typing import Any

import pytest

from features.stores.record import UserEvent
from retrieval.config import RetrievalConfig
from serve.admission import Admission
from serve.config import RerankConfig
from serve.counts import LatestCounts
from serve.fallback import Fallback
from serve.hydration import Hydrator, UserSource
from serve.kept import Kept
from serve.ladder import OverloadConfig
from serve.local import LocalStages
from serve.messages import Answer, Request
from serve.metrics import Metrics
from serve.pipeline import Pipeline
from serve.precomputed import Precomputed, PrecomputedAnswers
from serve.ranking import Ranker
from serve.reranking import Reranker
from serve.sources import Sources
from serve.threads import Threads
from tests.toy_bundle import DATA_END_MS, ToyBundle

OWN = Precomputed("older", DATA_END_MS, ["150", "gone", "120", "103"], [0.9, 0.8, 0.7, 0.6])


class NoIndex(LocalStages):
    """Stages of which retrieval fails."""

    async def retrieve(self, query: Any) -> Any:
        """Fail."""
        raise OSError("no index")


class NoStore(PrecomputedAnswers):
    """Answers that cannot be read."""

    def of(self, user_id: int | str) -> Precomputed | None:
        """Fail."""
        raise OSError("no store")


@pytest.fixture
def answers(users: UserSource) -> PrecomputedAnswers:
    made = PrecomputedAnswers(users.store, exclude_seen=True)
    made.keep({"7": OWN})
    return made


def ask(
    bundle: ToyBundle, hydrator: Hydrator, answers: PrecomputedAnswers, **request: object
) -> Answer:
    stages = NoIndex(
        hydrator,
        Sources.open(bundle, RetrievalConfig()),
        ranker=Ranker(bundle, LatestCounts(bundle)),
        reranker=Reranker(bundle, {}, RerankConfig()),
        threads=Threads(1),
    )
    metrics = Metrics()
    admission = Admission(OverloadConfig(), metrics, budget_ms=60_000, max_in_flight=9)
    kept = Kept(precomputed=answers)
    pipeline = Pipeline(stages, Fallback(bundle), metrics, admission, kept=kept)
    message = Request.model_validate({"user_id": 7, "num_items": 5, **request})
    return asyncio.run(pipeline.answer(message, "r"))


def shown(answer: Answer) -> list[tuple[int | str, str]]:
    return [(item.item_id, item.source) for item in answer.items]


def test_they_come_first_and_popular_items_fill_up(
    bundle: ToyBundle, hydrator: Hydrator, answers: PrecomputedAnswers
) -> None:
    answer = ask(bundle, hydrator, answers, explain=True)
    assert answer.degraded == "retrieve failed"
    assert answer.bundle == bundle.id
    assert shown(answer) == [
        (150, "precomputed"),
        (120, "precomputed"),
        (103, "precomputed"),
        (100, "popular"),
        (101, "popular"),
    ]
    offers = [item.explanation.offers[0].rank for item in answer.items if item.explanation]
    assert offers == [1, 2, 3, 1, 2]


def test_they_keep_what_the_request_asks_for(
    bundle: ToyBundle, hydrator: Hydrator, answers: PrecomputedAnswers
) -> None:
    answer = ask(bundle, hydrator, answers, exclude=[150], filters={"tags": "music"}, num_items=2)
    assert shown(answer) == [(120, "precomputed"), (103, "precomputed")]
    answer = ask(bundle, hydrator, answers, exclude=[150, 120, 103], num_items=1)
    assert shown(answer) == [(100, "popular")]


def test_what_the_user_has_liked_since_is_left_out(
    bundle: ToyBundle, hydrator: Hydrator, answers: PrecomputedAnswers, users: UserSource
) -> None:
    liked = UserEvent("150", DATA_END_MS - 1, {"click": 1.0})
    users.store.update({"7": lambda record: users.recorder.appended(record, [liked])})
    own = answers.of(7)
    assert own is not None
    assert list(own.item_ids) == ["gone", "120", "103"]
    assert list(own.scores) == [0.8, 0.7, 0.6]
    assert PrecomputedAnswers(users.store, exclude_seen=False).of("7") == OWN


def test_a_user_without_any_gets_popular_items(
    bundle: ToyBundle, hydrator: Hydrator, answers: PrecomputedAnswers
) -> None:
    assert {source for _, source in shown(ask(bundle, hydrator, answers, user_id=8))} == {"popular"}


def test_a_store_that_cannot_be_read_is_no_reason_to_fail(
    bundle: ToyBundle, hydrator: Hydrator, users: UserSource
) -> None:
    answer = ask(bundle, hydrator, NoStore(users.store, exclude_seen=True))
    assert answer.degraded == "retrieve failed, precomputed failed"
    assert len(answer.items) == 5


def test_what_another_version_wrote_is_none(users: UserSource) -> None:
    packed = bytearray(OWN.pack())
    packed[1] = 99
    users.store.keep_answers({"7": bytes(packed)})
    assert PrecomputedAnswers(users.store, exclude_seen=False).of(7) is None
