"""Stages on other replicas, over handles that run them in this process."""

import asyncio
import json
import pickle
import time
from collections.abc import Sequence
from contextvars import Context
from typing import Any, ClassVar

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from retrieval.config import RetrievalConfig
from serve.config import RerankConfig
from serve.correlation import CURRENT, Correlation, correlated
from serve.counts import LatestCounts
from serve.hydration import Hydrator
from serve.local import LocalStages
from serve.logs import JsonLines
from serve.messages import Request, RequestError
from serve.plan import FULL, Plan
from serve.progress import Progress, advance
from serve.ranking import Ranker
from serve.remote import TRANSPORT, PlacedStages, RemoteGroup
from serve.reranking import Reranker
from serve.sources import Sources
from serve.stages import BundleMismatchError, Ranked, Slate
from serve.threads import Threads
from serve.topology import PLACED, StageName
from tests.toy_bundle import ToyBundle

GROUPINGS: list[list[list[StageName]]] = [
    [["hydrate", "retrieve"], ["rank"], ["rerank"]],
    [["hydrate"], ["retrieve"], ["rank"], ["rerank"]],
    [["hydrate", "retrieve", "rank", "rerank"]],
    [["hydrate", "retrieve", "rank"], ["rerank"]],
    [["retrieve", "rank"]],
    [["rank", "rerank"]],
    [["rank"]],
    [["rerank"]],
]
REQUEST = Request(user_id=7, num_items=5, exclude=[101, 102], filters={"creator": ["ada", "bo"]})


class Retries:
    """Notes whose calls were made again."""

    def __init__(self) -> None:
        self.deployments: list[str] = []

    def count_retry(self, deployment: str) -> None:
        """Note it."""
        self.deployments.append(deployment)


class Handle:
    """A deployment in this process: messages are copied, and contexts are apart, as between two.

    Args:
        stages: what the deployment holds.
        errors: raised by the first calls.
    """

    def __init__(self, stages: Any, *errors: Exception) -> None:
        self.stages = stages
        self.errors = list(errors)
        self.calls: list[tuple[str, ...]] = []
        self.sizes: list[int] = []

    def options(self, **options: str) -> "Handle":
        """Check the transport."""
        assert options == TRANSPORT
        return self

    @property
    def run(self) -> "Handle":
        """The only method."""
        return self

    async def remote(self, names: Sequence[StageName], given: Progress) -> Progress:
        """Run the stages on a copy."""
        if self.errors:
            raise self.errors.pop(0)
        self.calls.append(tuple(names))
        there = pickle.dumps(given, pickle.HIGHEST_PROTOCOL)
        work = advance(self.stages, names, pickle.loads(there))
        made = await asyncio.create_task(work, context=Context())
        back = pickle.dumps(made, pickle.HIGHEST_PROTOCOL)
        self.sizes += [len(there), len(back)]
        copied: Progress = pickle.loads(back)
        return copied


@pytest.fixture
def local(bundle: ToyBundle, hydrator: Hydrator) -> LocalStages:
    return LocalStages(
        hydrator,
        Sources.open(bundle, RetrievalConfig()),
        ranker=Ranker(bundle, LatestCounts(bundle)),
        reranker=Reranker(bundle, {}, RerankConfig(diversity=0)),
        threads=Threads(2),
    )


def placed(local: LocalStages, groups: list[list[StageName]]) -> tuple[PlacedStages, list[Handle]]:
    """Return stages of which groups lie elsewhere, and the groups' handles."""
    handles = [Handle(local) for _ in groups]
    remote = [
        RemoteGroup("-".join(group), group, handle, Retries())
        for group, handle in zip(groups, handles, strict=True)
    ]
    return PlacedStages(local, remote), handles


def run(stages: Any, request: Request = REQUEST) -> tuple[Slate, Ranked]:
    """Run every stage as the pipeline does."""

    async def answer() -> tuple[Slate, Ranked]:
        query = await stages.hydrate(request, FULL)
        candidates = await stages.retrieve(query)
        ranked = await stages.rank(query, candidates)
        return await stages.rerank(query, ranked), ranked

    return asyncio.run(answer())


@pytest.mark.parametrize("groups", GROUPINGS, ids=str)
def test_a_grouping_answers_as_one_process_in_one_call_each(
    local: LocalStages, groups: list[list[StageName]]
) -> None:
    stages, handles = placed(local, groups)
    slate, ranked = run(stages)
    expected, expected_ranked = run(local)
    assert slate.items == expected.items
    assert len(slate.items) == 5
    assert ranked.candidates.rows.tolist() == expected_ranked.candidates.rows.tolist()
    assert ranked.predictions.tolist() == expected_ranked.predictions.tolist()
    assert [handle.calls for handle in handles] == [[tuple(group)] for group in groups]


def test_every_stage_reports_once_whatever_the_grouping(local: LocalStages) -> None:
    for groups in GROUPINGS:
        stages, _ = placed(local, groups)

        async def reports(stages: PlacedStages = stages) -> list[str]:
            query = await stages.hydrate(REQUEST, FULL)
            candidates = await stages.retrieve(query)
            ranked = await stages.rank(query, candidates)
            slate = await stages.rerank(query, ranked)
            made = (query, candidates, ranked, slate)
            return [report.stage for one in made for report in one.reports]

        assert asyncio.run(reports()) == ["hydrate", "retrieve", "filter", "rank", "rerank"]


def test_what_the_next_stage_does_not_read_is_not_sent(local: LocalStages) -> None:
    many = Request(user_id=7, exclude=list(range(10_000)), num_items=5)
    stages, handles = placed(local, [["hydrate", "retrieve"], ["rank"], ["rerank"]])
    run(stages, many)
    asked, answered = handles[1].sizes
    assert asked < 8_000
    assert answered < 4_000
    assert handles[2].sizes[0] < 6_000


def test_a_plan_without_the_ranker_still_costs_one_call(local: LocalStages) -> None:
    stages, (handle,) = placed(local, [list(PLACED)])

    async def answer() -> Slate:
        query = await stages.hydrate(REQUEST, Plan(is_ranked=False))
        candidates = await stages.retrieve(query)
        return await stages.rerank(query, Ranked.unranked(candidates))

    slate = asyncio.run(answer())
    assert len(slate.items) == 5
    assert not slate.items[0].predictions
    assert handle.calls == [PLACED]


def test_a_list_whose_ranking_failed_is_reranked_by_a_call_of_its_own(local: LocalStages) -> None:
    handle = Handle(Broken(local, ValueError("NaN")))
    stages = PlacedStages(local, [RemoteGroup("all", PLACED, handle, Retries())])

    async def answer() -> Slate:
        query = await stages.hydrate(REQUEST, FULL)
        candidates = await stages.retrieve(query)
        with pytest.raises(ValueError, match="NaN"):
            await stages.rank(query, candidates)
        return await stages.rerank(query, Ranked.unranked(candidates))

    assert len(asyncio.run(answer()).items) == 5
    assert handle.calls == [PLACED, ("rerank",)]


def test_what_was_made_before_a_late_stage_is_back_in_time(local: LocalStages) -> None:
    class Slow(Broken):
        """Ranks for ever."""

        async def rank(self, *_: object) -> Ranked:
            """Go on."""
            await asyncio.Event().wait()
            raise AssertionError

    async def made() -> Progress:
        plan = Plan(deadline_ms=1000 * time.time() + 60_000)
        given = Progress(plan, REQUEST)
        return await advance(Slow(local, ValueError()), PLACED, given, reserved_s=59.5)

    progress = asyncio.run(made())
    assert progress.made("retrieve") is not None
    with pytest.raises(TimeoutError):
        progress.made("rank")


def test_a_wrong_request_comes_back_as_it_was_raised(local: LocalStages) -> None:
    stages, _ = placed(local, [list(PLACED)])
    with pytest.raises(RequestError) as raised:
        asyncio.run(stages.hydrate(Request(user_id=1, filters={"planet": ["mars"]}), FULL))
    assert raised.value.path == ("filters", "planet")


class Broken:
    """Stages of which the last fails."""

    def __init__(self, local: LocalStages, error: Exception) -> None:
        self.local = local
        self.error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.local, name)

    async def rank(self, *_: object) -> Ranked:
        """Fail."""
        raise self.error


class UnsendableError(Exception):
    """Does not survive being copied."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize("error", [ValueError("NaN"), UnsendableError(1, 2)])
def test_what_was_made_before_a_failure_is_kept(local: LocalStages, error: Exception) -> None:
    handle = Handle(Broken(local, error))
    stages = PlacedStages(local, [RemoteGroup("all", PLACED, handle, Retries())])

    async def answer() -> None:
        query = await stages.hydrate(REQUEST, FULL)
        candidates = await stages.retrieve(query)
        assert len(candidates.rows)
        with pytest.raises((ValueError, RuntimeError), match="NaN|UnsendableError: 1 and 2"):
            await stages.rank(query, candidates)

    asyncio.run(answer())
    assert handle.calls == [PLACED]


def test_an_error_tells_where_it_was_raised(local: LocalStages) -> None:
    handle = Handle(Broken(local, ValueError("NaN")))
    stages = PlacedStages(local, [RemoteGroup("all", PLACED, handle, Retries())])

    async def failed() -> None:
        query = await stages.hydrate(REQUEST, FULL)
        await stages.rank(query, await stages.retrieve(query))

    with pytest.raises(ValueError, match="NaN") as raised:
        asyncio.run(failed())
    assert "in rank" in "".join(raised.value.__notes__)


def test_what_a_replica_logs_names_the_request(
    local: LocalStages, caplog: pytest.LogCaptureFixture
) -> None:
    lines: list[str] = []
    caplog.handler.addFilter(lambda record: not lines.append(JsonLines().format(record)))
    handle = Handle(Broken(local, ValueError("NaN")))
    stages = PlacedStages(local, [RemoteGroup("all", PLACED, handle, Retries())])

    async def asked() -> None:
        with correlated(Correlation("r-7")):
            await stages.hydrate(REQUEST, FULL)
        assert CURRENT.get() is None

    asyncio.run(asked())
    (line,) = [json.loads(one) for one in lines]
    assert (line["message"], line["request_id"]) == ("rank failed", "r-7")


def test_a_lost_replica_costs_a_retry(local: LocalStages) -> None:
    lost = ActorUnavailableError("gone", b"0" * 16)
    retries = Retries()
    handle = Handle(local, lost, ActorDiedError())
    stages = PlacedStages(local, [RemoteGroup("ranker", ["rank"], handle, retries)])
    assert run(stages)[0].items == run(local)[0].items
    assert retries.deployments == ["ranker", "ranker"]


def test_a_deployment_that_stays_away_is_asked_until_the_caller_gives_up(
    local: LocalStages,
) -> None:
    class Dead(Handle):
        """Never answers."""

        async def remote(self, names: Sequence[StageName], given: Progress) -> Progress:
            """Be dead."""
            raise ActorDiedError

    retries = Retries()
    stages = PlacedStages(local, [RemoteGroup("r", ["hydrate"], Dead(local), retries)])
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(stages.hydrate(REQUEST, FULL), 0.05))
    assert len(retries.deployments) > 1


def test_an_error_of_the_replica_itself_is_its_cause(local: LocalStages) -> None:
    cause = MemoryError("too small")
    handle = Handle(local, RayTaskError("run", "", cause))
    stages = PlacedStages(local, [RemoteGroup("r", ["hydrate"], handle, Retries())])
    with pytest.raises(MemoryError) as raised:
        asyncio.run(stages.hydrate(REQUEST, FULL))
    assert raised.value is cause


def test_a_replica_that_does_not_hold_the_bundle_yet_is_asked_again(local: LocalStages) -> None:
    retries = Retries()
    handle = Handle(local, RayTaskError("run", "", BundleMismatchError("not held")))
    stages = PlacedStages(local, [RemoteGroup("ranker", ["rank"], handle, retries)])
    slate, _ = run(stages)
    assert len(slate.items) == REQUEST.num_items
    assert retries.deployments == ["ranker"]


def test_the_plan_names_the_bundle_on_the_way_through_all_deployments(local: LocalStages) -> None:
    class Named(Handle):
        """Notes which bundle each call is for."""

        bundles: ClassVar[list[str | None]] = []

        async def remote(self, names: Sequence[StageName], given: Progress) -> Progress:
            """Note it, then run."""
            self.bundles.append(given.plan.bundle)
            return await super().remote(names, given)

    groups = [RemoteGroup(name, [name], Named(local), Retries()) for name in PLACED]
    run(PlacedStages(local, groups, "b"))
    assert Named.bundles == ["b"] * len(PLACED)
