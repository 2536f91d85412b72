"""An explained answer tells how each item came in, and where an item that was asked about left."""

import asyncio
from typing import Any

import pytest

from features.stores.record import UserEvent
from retrieval.config import RetrievalConfig
from serve.admission import Admission
from serve.config import RerankConfig
from serve.counts import LatestCounts
from serve.explanation import Offer, Step
from serve.fallback import Fallback
from serve.hydration import Hydrator, UserSource
from serve.ladder import OverloadConfig
from serve.local import LocalStages
from serve.messages import Answer, Request
from serve.metrics import Metrics
from serve.pipeline import Pipeline
from serve.ranking import Ranker
from serve.reranking import Reranker
from serve.sources import Sources
from serve.threads import Threads
from tests.toy_bundle import DATA_END_MS, ToyBundle

BY_VALUE = RerankConfig(diversity=0)
QUOTAS = {"two_tower": 20, "popular": 10, "fresh": 0}


class Broken(LocalStages):
    """Stages of which retrieval fails."""

    async def retrieve(self, query: Any) -> Any:
        """Fail."""
        raise OSError("no index")


@pytest.fixture
def parts(bundle: ToyBundle, hydrator: Hydrator) -> dict[str, Any]:
    return {
        "hydrator": hydrator,
        "sources": Sources.open(bundle, RetrievalConfig.model_validate({"quotas": QUOTAS})),
        "ranker": Ranker(bundle, LatestCounts(bundle)),
        "threads": Threads(1),
    }


def explain(
    bundle: ToyBundle,
    parts: dict[str, Any],
    rerank: RerankConfig = BY_VALUE,
    stages: type[LocalStages] = LocalStages,
    **request: object,
) -> Answer:
    made = stages(**parts, reranker=Reranker(bundle, {}, rerank))
    metrics = Metrics()
    admission = Admission(OverloadConfig(), metrics, budget_ms=60_000, max_in_flight=9)
    pipeline = Pipeline(made, Fallback(bundle), metrics, admission)
    message = Request.model_validate({"user_id": 1, "num_items": 5, "explain": True, **request})
    return asyncio.run(pipeline.answer(message, "r"))


def verdict(answer: Answer, item_id: object) -> tuple[str | None, str]:
    """Return stage and reason of one verdict."""
    assert answer.why_not is not None
    found = next(one for one in answer.why_not if one.item_id == item_id)
    assert found.detail
    return found.stage, found.reason


def ids(answer: Answer) -> list[int | str]:
    return [item.item_id for item in answer.items]


def test_an_item_s_steps_lead_from_its_source_to_its_place(
    bundle: ToyBundle, parts: dict[str, Any]
) -> None:
    answer = explain(bundle, parts, num_items=30)
    for place, item in enumerate(answer.items, start=1):
        told = item.explanation
        assert told is not None
        assert item.source in [offer.source for offer in told.offers]
        assert [step.stage for step in told.steps] == ["retrieve", "filter", "rank", "rerank"]
        assert told.steps[0].before is None
        for before, after in zip(told.steps, told.steps[1:], strict=False):
            assert before.after == after.before
        assert told.steps[-1].after == place
        assert told.choice is not None
        assert told.choice.value == pytest.approx(item.score)
    for step in range(4):
        reached = [item.explanation.steps[step].after for item in answer.items if item.explanation]
        assert sorted(reached) == list(range(1, 31))


def test_every_source_that_had_an_item_is_told_with_its_rank(
    bundle: ToyBundle, parts: dict[str, Any]
) -> None:
    answer = explain(bundle, parts, num_items=30)
    most_popular = next(item for item in answer.items if item.item_id == 100)
    assert most_popular.explanation is not None
    offers = {offer.source: offer for offer in most_popular.explanation.offers}
    assert set(offers) == {"two_tower", "popular"}
    assert offers["popular"].rank == 1


def test_diversity_is_told_as_a_penalty_and_its_cause(
    bundle: ToyBundle, parts: dict[str, Any]
) -> None:
    answer = explain(bundle, parts, RerankConfig(diversity=0.5), num_items=10)
    choices = [item.explanation.choice for item in answer.items if item.explanation]
    assert choices[0] is not None
    assert (choices[0].penalty, choices[0].like) == (0, None)
    for place, choice in enumerate(choices[1:], start=1):
        assert choice is not None
        assert choice.penalty >= 0
        assert choice.like in ids(answer)[:place]


def test_without_the_wish_nothing_is_told(bundle: ToyBundle, parts: dict[str, Any]) -> None:
    answer = explain(bundle, parts, explain=False)
    assert answer.why_not is None
    assert {item.explanation for item in answer.items} == {None}


def test_items_that_may_not_be_shown_are_told_apart(
    bundle: ToyBundle, parts: dict[str, Any], users: UserSource
) -> None:
    seen = UserEvent("103", DATA_END_MS - 1, {"click": 1.0})
    users.store.update({"1": lambda record: users.recorder.appended(record, [seen])})
    answer = explain(
        bundle,
        parts,
        exclude=["101"],
        filters={"creator": ["bo", "di"]},
        why_not=["nothing", 101, 103, 102],
    )
    assert verdict(answer, "nothing") == ("hydrate", "unknown")
    assert verdict(answer, 101) == ("filter", "excluded")
    assert verdict(answer, 103) == ("filter", "seen")
    assert verdict(answer, 102) == ("filter", "filtered")
    assert answer.why_not is not None
    assert "its creator is 'cy', wanted: ['bo', 'di']" in answer.why_not[3].detail


def test_an_item_past_the_quotas_was_not_retrieved(
    bundle: ToyBundle, parts: dict[str, Any]
) -> None:
    shown = ids(explain(bundle, parts, num_items=60))
    missing = [item_id for item_id in range(100, 160) if item_id not in shown]
    answer = explain(bundle, parts, why_not=missing)
    assert len(missing) == 30
    assert {verdict(answer, item_id) for item_id in missing} == {("retrieve", "not_retrieved")}
    assert answer.why_not is not None
    assert "past the quotas: popular at rank 15;" in answer.why_not[0].detail


def test_a_candidate_that_is_valued_too_low_was_cut_by_rank(
    bundle: ToyBundle, parts: dict[str, Any]
) -> None:
    order = ids(explain(bundle, parts, num_items=30))
    answer = explain(bundle, parts, why_not=[order[7], order[0]])
    assert answer.why_not is not None
    cut, shown = answer.why_not
    assert (cut.stage, cut.reason, cut.detail) == ("rerank", "rank", "rank 8 by value; 5 are shown")
    assert cut.steps[-1] == Step("rank", cut.steps[1].after, 8)
    assert set(cut.predictions) == {"click", "like", "watch_time"}
    assert (shown.stage, shown.reason) == (None, "shown")
    assert shown.detail == "it is shown at place 1"


def test_the_cap_and_diversity_are_told_apart(bundle: ToyBundle, parts: dict[str, Any]) -> None:
    capped = RerankConfig(diversity=0, cap="creator", max_per_value=1)
    plain = ids(explain(bundle, parts, num_items=4))
    slate = ids(explain(bundle, parts, capped, num_items=4))
    lost = next(item_id for item_id in plain if item_id not in slate)
    answer = explain(bundle, parts, capped, num_items=4, why_not=[lost])
    assert verdict(answer, lost) == ("rerank", "cap")

    varied = RerankConfig(diversity=0.9)
    slate = ids(explain(bundle, parts, varied))
    lost = next(item_id for item_id in ids(explain(bundle, parts)) if item_id not in slate)
    assert verdict(explain(bundle, parts, varied, why_not=[lost]), lost) == ("rerank", "diversity")


def test_popular_items_that_stand_in_are_told_as_such(
    bundle: ToyBundle, parts: dict[str, Any]
) -> None:
    answer = explain(bundle, parts, stages=Broken, why_not=[150, 101, "nothing"])
    assert answer.degraded == "retrieve failed"
    assert verdict(answer, 150) == ("fallback", "degraded")
    assert verdict(answer, 101) == (None, "shown")
    assert verdict(answer, "nothing") == ("hydrate", "unknown")
    assert answer.items[0].explanation is not None
    assert answer.items[0].explanation.offers == (Offer("popular", 1, 60.0),)


def test_asking_about_items_needs_explanations() -> None:
    with pytest.raises(ValueError, match="needs explain: true"):
        Request.model_validate({"user_id": 1, "why_not": [3]})
