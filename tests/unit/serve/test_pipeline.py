"""The pipeline answers whatever happens to its stages."""

import asyncio
import logging
from typing import Any

import pytest

from retrieval.config import RetrievalConfig
from serve.admission import Admission, OverloadedError
from serve.config import RerankConfig
from serve.counts import LatestCounts
from serve.fallback import Fallback
from serve.hydration import Hydrator
from serve.ladder import OverloadConfig
from serve.local import LocalStages
from serve.messages import Answer, Request, RequestError
from serve.passage import Passage
from serve.pipeline import Pipeline
from serve.ranking import Ranker
from serve.reranking import Reranker
from serve.sources import Sources
from serve.stages import STAGES
from serve.threads import Threads
from tests.toy_bundle import ToyBundle

BUDGET_MS = 1_000
WAIT_S = 0.02


class Notes:
    """Remembers what an observer hears."""

    def __init__(self) -> None:
        self.passages: list[Passage] = []
        self.refused: list[str] = []

    def observe(self, passage: Passage) -> None:
        """Note a request."""
        for report in passage.reports:
            assert report.time_ms >= 0
            assert report.num_in >= report.num_out >= 0
        self.passages.append(passage)

    def observe_pressure(self, pressure: float, level: int) -> None:
        """Check both."""
        assert pressure >= 0
        assert level >= 0

    def count_refused(self, reason: str) -> None:
        """Note a refusal."""
        self.refused.append(reason)

    @property
    def reasons(self) -> list[str]:
        """What the answers missed."""
        return [reason for passage in self.passages for reason in passage.degraded]


class Troubled:
    """Stages of which some fail or are late."""

    def __init__(self, stages: LocalStages, **troubles: Exception | float) -> None:
        self.stages = stages
        self.troubles = troubles

    def __getattr__(self, name: str) -> Any:
        async def run(*arguments: Any) -> Any:
            trouble = self.troubles.get(name)
            if isinstance(trouble, Exception):
                raise trouble
            if trouble is not None:
                await asyncio.sleep(trouble)
            return await getattr(self.stages, name)(*arguments)

        return run


@pytest.fixture
def stages(bundle: ToyBundle, hydrator: Hydrator) -> LocalStages:
    return LocalStages(
        hydrator,
        Sources.open(bundle, RetrievalConfig()),
        ranker=Ranker(bundle, LatestCounts(bundle)),
        reranker=Reranker(bundle, {}, RerankConfig(diversity=0)),
        threads=Threads(2),
    )


@pytest.fixture
def notes() -> Notes:
    return Notes()


def ask(bundle: ToyBundle, stages: Any, notes: Notes, **request: object) -> Answer:
    admission = Admission(OverloadConfig(), notes, budget_ms=BUDGET_MS, max_in_flight=9)
    return ask_under(admission, bundle, stages, notes, **request)


def ask_under(
    admission: Admission, bundle: ToyBundle, stages: Any, notes: Notes, **request: object
) -> Answer:
    pipeline = Pipeline(stages, Fallback(bundle), notes, admission)
    message = Request.model_validate({"user_id": 1, "num_items": 5, **request})
    return asyncio.run(pipeline.answer(message, "r1"))


def test_a_request_goes_through_every_stage(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    answer = ask(bundle, stages, notes)
    assert (answer.request_id, answer.bundle, answer.degraded) == ("r1", bundle.id, None)
    assert [item.item_id for item in answer.items] == [159, 158, 157, 156, 155]
    assert set(answer.items[0].predictions) == {"click", "like", "watch_time"}
    assert tuple(answer.timings_ms) == (*STAGES, "total")
    (passage,) = notes.passages
    assert (passage.request_id, passage.bundle) == ("r1", bundle.id)
    assert tuple(report.stage for report in passage.reports) == STAGES
    assert [call.stage for call in passage.calls] == ["hydrate", "retrieve", "rank", "rerank"]
    assert sum(passage.served.values()) == 5
    assert sum(passage.candidates.values()) == 60


def test_a_call_s_waiting_is_what_no_stage_computed(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    ask(bundle, Troubled(stages, rank=WAIT_S), notes)
    calls = {call.stage: call for call in notes.passages[0].calls}
    assert calls["rank"].waited_s >= WAIT_S
    assert calls["rank"].seconds >= calls["rank"].waited_s
    assert calls["rerank"].started_s >= calls["rank"].started_s + calls["rank"].seconds


@pytest.mark.parametrize("trouble", [RuntimeError("broken"), 10.0])
@pytest.mark.parametrize("stage", ["hydrate", "retrieve", "rank", "rerank"])
def test_a_broken_or_late_stage_degrades_the_answer(
    bundle: ToyBundle,
    stages: LocalStages,
    notes: Notes,
    stage: str,
    trouble: Exception | float,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = ask(bundle, Troubled(stages, **{stage: trouble}), notes, exclude=[100])
    reason = f"{stage} {'late' if trouble == 10.0 else 'failed'}"
    assert answer.degraded == reason
    assert notes.reasons == [reason]
    assert reason in caplog.text
    assert len(answer.items) == 5
    assert 100 not in [item.item_id for item in answer.items]
    assert answer.timings_ms["total"] < BUDGET_MS + 200
    sources = {item.source for item in answer.items}
    assert (sources == {"popular"}) == (stage != "rank")


def test_a_late_ranker_leaves_the_order_of_retrieval(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    answer = ask(bundle, Troubled(stages, rank=10.0), notes)
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True)
    assert answer.items[0].predictions == {}


def test_the_fallback_keeps_what_the_request_asks_for(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    answer = ask(
        bundle,
        Troubled(stages, retrieve=RuntimeError("broken")),
        notes,
        filters={"creator": "bo"},
        exclude=[101],
        num_items=2,
    )
    assert [(item.item_id, item.title) for item in answer.items] == [
        (105, "Item 105"),
        (109, "Item 109"),
    ]


def test_a_wrong_request_is_refused_and_not_degraded(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    with pytest.raises(RequestError, match="filters.creater"):
        ask(bundle, stages, notes, filters={"creater": "bo"})
    with pytest.raises(RequestError, match="filters.creater"):
        ask(bundle, Troubled(stages, hydrate=OSError("x")), notes, filters={"creater": "bo"})
    assert notes.reasons == []


def test_filters_that_nothing_fits_give_an_empty_answer(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    answer = ask(bundle, stages, notes, filters={"creator": "nobody"})
    assert (answer.items, answer.degraded) == ([], None)


STEPS = ("fewer_candidates", "no_diversity", "no_ranker", "popular")


def pressed(notes: Notes, level: int) -> Admission:
    """An admission that stands at a level of the ladder."""
    config = OverloadConfig(steps=STEPS, candidates=7, max_hold=60_000, hold=60_000)
    admission = Admission(config, notes, budget_ms=60_000, max_in_flight=9)
    admission.ladder.level = level
    return admission


@pytest.mark.parametrize(
    ("level", "reason", "num_ranked"),
    [
        (0, None, 60),
        (1, "overload: fewer candidates", 7),
        (2, "overload: no diversity", 7),
        (3, "overload: no ranker", 0),
    ],
)
def test_each_step_of_the_ladder_saves_work_and_is_told(
    bundle: ToyBundle,
    stages: LocalStages,
    notes: Notes,
    level: int,
    reason: str | None,
    num_ranked: int,
) -> None:
    answer = ask_under(pressed(notes, level), bundle, stages, notes)
    assert (answer.degraded, len(answer.items)) == (reason, 5)
    assert notes.reasons == ([reason] if reason else [])
    ranked = [report.num_in for report in notes.passages[0].reports if report.stage == "rank"]
    assert sum(ranked) == num_ranked
    assert bool(answer.items[0].predictions) == bool(num_ranked)


def test_fewer_candidates_still_fill_the_slate(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    assert len(ask_under(pressed(notes, 1), bundle, stages, notes, num_items=20).items) == 20


def test_what_overflows_is_answered_from_memory(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    admission = pressed(notes, 3)
    admission.pressure.learn(3, 0.0, latency_s=50.0, num_in_flight=1)
    admission.pressure.enter()
    answer = ask_under(admission, bundle, stages, notes, exclude=[100], filters={"creator": "bo"})
    assert answer.degraded == "overload: popular"
    assert {item.source for item in answer.items} == {"popular"}
    assert not notes.passages[0].calls
    assert admission.pressure.in_flight == 1


def test_past_the_last_step_requests_are_refused(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    admission = pressed(notes, 3)
    for _ in range(9):
        admission.pressure.enter()
    with pytest.raises(OverloadedError):
        ask_under(admission, bundle, stages, notes)
    assert notes.refused == ["too many in flight"]


def test_a_client_that_goes_away_leaves_nothing_in_flight(
    bundle: ToyBundle, stages: LocalStages, notes: Notes
) -> None:
    admission = pressed(notes, 0)
    pipeline = Pipeline(Troubled(stages, rank=10.0), Fallback(bundle), notes, admission)

    async def leave() -> None:
        asked = asyncio.ensure_future(pipeline.answer(Request(user_id=1), "r1"))
        while not admission.pressure.in_flight:
            await asyncio.sleep(0)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(leave())
    assert admission.pressure.in_flight == 0
