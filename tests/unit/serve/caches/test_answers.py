"""An answer is given again until anything that it depends on changes, and no longer."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from features.stores.memory import MemoryStore
from features.stores.record import UserEvent
from retrieval.config import RetrievalConfig
from serve.admission import Admission, OverloadedError
from serve.caches.answers import AnswerCache
from serve.caches.cache import Cache, Limits
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
from serve.plan import Plan
from serve.ranking import Ranker
from serve.reranking import Reranker
from serve.sources import Sources
from serve.stages import Query
from serve.threads import Threads
from serve.withdrawals import Withdrawals
from tests.toy_bundle import DATA_END_MS, ToyBundle

MAX_AGE_S = 2.0


class Counted(LocalStages):
    """Stages that count their requests and can be made to fail, or to do something midway."""

    num_requests = 0
    fails = False
    midway: Callable[[], object] | None = None

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Count."""
        vars(self)["num_requests"] = self.num_requests + 1
        query = await super().hydrate(request, plan)
        if self.midway is not None:
            self.midway()
        return query

    async def retrieve(self, query: Query) -> Any:
        """Fail, or not."""
        if self.fails:
            raise OSError("no index")
        return await super().retrieve(query)


class World:
    """A pipeline with a cache, and everything that its answers depend on.

    Args:
        bundle: answers first.
        other: answers after a switch.
        users: the store.
        blind: a part of the key that is left out, as a control.
    """

    def __init__(self, bundle: ToyBundle, other: ToyBundle, users: UserSource, blind: str) -> None:
        self.users = users
        self.now_s = 0.0
        self.metrics = Metrics()
        self.withdrawals = Withdrawals(users.store, bundle.catalogue.rows_by_id)
        limits = Limits(100, 10**6, MAX_AGE_S)
        self.cache: Cache[bytes] = Cache(
            "answers", limits, self.metrics, clock=lambda: 0.0 if blind == "age" else self.now_s
        )
        self.store = BlindStore(users.store) if blind == "record" else users.store
        self.generation = (lambda: "") if blind == "withdrawals" else self.withdrawals.generation
        self.bundle_ids = [bundle.id, bundle.id if blind == "bundle" else other.id]
        self.bundles = [bundle, other]
        self.current = 0
        self.pipelines = [self.pipeline(0), self.pipeline(1)]

    def pipeline(self, number: int) -> Pipeline:
        """Return the pipeline of one bundle."""
        bundle = self.bundles[number]
        counts = LatestCounts(bundle)
        stages = Counted(
            Hydrator(bundle, self.users, counts=counts, exclude_seen=True),
            Sources.open(bundle, RetrievalConfig()),
            ranker=Ranker(bundle, counts),
            reranker=Reranker(bundle, {}, RerankConfig()),
            threads=Threads(1),
        )
        config = OverloadConfig(max_hold=60_000, hold=60_000)
        admission = Admission(config, self.metrics, budget_ms=60_000, max_in_flight=9)
        answers = AnswerCache(self.bundle_ids[number], self.store, self.generation, self.cache)
        kept = Kept(answers=answers, withdrawals=self.withdrawals)
        return Pipeline(stages, Fallback(bundle), self.metrics, admission, kept=kept)

    @property
    def stages(self) -> Counted:
        """The current bundle's."""
        stages = self.pipelines[self.current].stages
        assert isinstance(stages, Counted)
        return stages

    def ask(self, **request: object) -> Answer:
        """Ask the current bundle."""
        message = Request.model_validate({"user_id": 7, "num_items": 5, **request})
        return asyncio.run(self.pipelines[self.current].answer(message, "r"))

    def is_computed(self, **request: object) -> bool:
        """Ask, and tell whether the stages had to work."""
        before = self.stages.num_requests
        self.ask(**request)
        return self.stages.num_requests > before

    def click(self, item_id: int, user_id: int = 7) -> None:
        """Send an event."""
        event = UserEvent(str(item_id), DATA_END_MS - item_id, {"click": 1.0})
        appended = self.users.recorder.appended
        self.users.store.update({str(user_id): lambda record: appended(record, [event])})


class BlindStore(MemoryStore):
    """Sees no record change."""

    def __init__(self, store: object) -> None:
        super().__init__()
        self.store = store

    def version(self, user_id: str) -> bytes:
        """Return the same for all."""
        return b""


@pytest.fixture
def world(
    bundle: ToyBundle,
    bundle_without_ranker: ToyBundle,
    users: UserSource,
    request: pytest.FixtureRequest,
) -> World:
    return World(bundle, bundle_without_ranker, users, getattr(request, "param", ""))


def happen(world: World, what: str) -> None:
    """Change something that the answer depends on."""
    if what == "event":
        world.click(158)
    elif what == "erasure":
        world.users.store.delete("7")
    elif what == "refill":
        fresh = world.users.recorder.empty({"country": "SE"})
        world.users.store.update({"7": lambda _: fresh})
    elif what == "withdrawal":
        world.withdrawals.withdraw(world.ask().items[0].item_id)
    elif what == "switch":
        world.current = 1
    else:
        world.now_s += MAX_AGE_S


def test_an_identical_request_is_answered_alike_without_the_stages(world: World) -> None:
    world.click(159)
    first = world.ask(context={"surface": "feed"}, exclude=[5], filters={"creator": "bo"})
    message = {"context": {"surface": "feed"}, "exclude": [5], "filters": {"creator": "bo"}}
    answer = asyncio.run(
        world.pipelines[0].answer(
            Request.model_validate({"user_id": "7", "num_items": 5, **message}), "again"
        )
    )
    assert world.stages.num_requests == 1
    assert answer.request_id == "again"
    assert set(answer.timings_ms) == {"cache", "total"}
    assert answer.model_copy(update={"request_id": "r", "timings_ms": first.timings_ms}) == first
    told = world.metrics.render().decode()
    assert 'millrace_cache_hits_total{cache="answers"} 1.0' in told
    for origin in ("cache", "stages"):
        assert f'millrace_answers_total{{bundle="{answer.bundle}",origin="{origin}"}} 1.0' in told
    assert f'millrace_answer_seconds_count{{bundle="{answer.bundle}"}} 1.0' in told


@pytest.mark.parametrize(
    "other",
    [
        {"num_items": 6},
        {"exclude": [100]},
        {"context": {"surface": "search"}},
        {"filters": {"creator": "ada"}},
        {"user_id": 8},
    ],
)
def test_another_request_is_computed(world: World, other: dict[str, Any]) -> None:
    world.click(159)
    world.ask()
    assert world.is_computed(**other)


@pytest.mark.parametrize("what", ["event", "erasure", "refill", "withdrawal", "switch", "time"])
def test_a_change_is_noticed_at_once(world: World, what: str) -> None:
    world.click(159)
    before = world.ask()
    assert not world.is_computed()
    happen(world, what)
    after = world.ask()
    assert world.stages.num_requests == (1 if what == "switch" else 2)
    assert (after.items == before.items) == (what == "time")


@pytest.mark.parametrize(
    ("what", "world"),
    [
        ("event", "record"),
        ("erasure", "record"),
        ("refill", "record"),
        ("withdrawal", "withdrawals"),
        ("switch", "bundle"),
        ("time", "age"),
    ],
    indirect=["world"],
)
def test_each_part_of_the_key_is_needed(world: World, what: str) -> None:
    """A key without it repeats the old answer."""
    world.click(159)
    before = world.ask()
    happen(world, what)
    assert not world.is_computed()
    assert world.ask().items == before.items


def test_users_without_a_record_share_an_answer(world: World) -> None:
    world.ask(user_id="new")
    assert not world.is_computed(user_id="newer")
    world.click(150, user_id=9)
    assert world.is_computed(user_id=9)


def test_explained_and_degraded_answers_are_not_kept(world: World) -> None:
    assert world.is_computed(explain=True)
    assert world.is_computed(explain=True)
    vars(world.stages)["fails"] = True
    assert world.ask().degraded == "retrieve failed"
    vars(world.stages)["fails"] = False
    assert world.ask().degraded is None
    assert not world.is_computed()


def test_an_answer_is_not_kept_when_something_changes_while_it_is_made(world: World) -> None:
    """Else a user who is erased again would be answered from what the event told."""
    vars(world.stages)["midway"] = lambda: world.click(150)
    world.ask()
    vars(world.stages)["midway"] = None
    world.users.store.delete("7")
    assert world.is_computed()


def test_an_answer_that_json_cannot_hold_is_not_kept(world: World) -> None:
    answers = world.pipelines[0].kept.answers
    assert answers is not None
    answer = world.ask(explain=True)
    item = answer.items[0].model_copy(update={"score": float("nan")})
    answers.keep(b"key", answer.model_copy(update={"items": [item]}), is_current=True)
    assert answers.find(b"key") is None
    answers.keep(b"key", answer, is_current=True)
    assert answers.find(b"key") is not None


def test_full_answers_are_given_again_under_overload(world: World) -> None:
    world.ask()
    admission = world.pipelines[0].admission
    admission.ladder.level = 2
    assert world.ask().degraded is None
    for _ in range(9):
        admission.pressure.enter()
    assert world.ask().degraded is None
    with pytest.raises(OverloadedError):
        world.ask(num_items=6)


def test_a_store_that_cannot_tell_what_changed_is_no_reason_to_fail(world: World) -> None:
    def fail() -> str:
        raise OSError("broken")

    answers = world.pipelines[0].kept.answers
    assert answers is not None
    answers.generation = fail
    assert world.is_computed()
    assert world.is_computed()
