"""Withdrawn items are not shown by any path, from the next request on and by every replica."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.stores.lmdb import LmdbStore
from features.stores.memory import MemoryStore
from features.stores.store import Store
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
from serve.withdrawals import UnknownItemError, Withdrawals
from tests.toy_bundle import DATA_END_MS, ITEMS, ToyBundle

ROWS = {"a": 1, "b": 2, "c": 3}
FAILING = ("", "hydrate", "retrieve", "rerank")


class Failing(LocalStages):
    """Stages of which one fails."""

    fails = ""

    async def hydrate(self, *arguments: Any) -> Any:
        """Fail, or not."""
        return await self._run("hydrate", super().hydrate, arguments)

    async def retrieve(self, *arguments: Any) -> Any:
        """Fail, or not."""
        return await self._run("retrieve", super().retrieve, arguments)

    async def rerank(self, *arguments: Any) -> Any:
        """Fail, or not."""
        return await self._run("rerank", super().rerank, arguments)

    async def _run(self, name: str, stage: Any, arguments: tuple[Any, ...]) -> Any:
        if name == self.fails:
            raise OSError("broken")
        return await stage(*arguments)


class UnreadableStore(MemoryStore):
    """Fails once it is broken."""

    is_broken = False

    def fact(self, name: str) -> str | None:
        """Fail, or not."""
        if self.is_broken:
            raise OSError("broken")
        return super().fact(name)


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "online")
    yield made
    made.close()


@pytest.fixture
def pipeline(bundle: ToyBundle, hydrator: Hydrator, users: UserSource) -> Pipeline:
    precomputed = PrecomputedAnswers(users.store, exclude_seen=True)
    own = Precomputed("older", DATA_END_MS, ["150", "159", "100"], [0.9, 0.8, 0.7])
    precomputed.keep({"7": own})
    stages = Failing(
        hydrator,
        Sources.open(bundle, RetrievalConfig()),
        ranker=Ranker(bundle, LatestCounts(bundle)),
        reranker=Reranker(bundle, {}, RerankConfig(diversity=0)),
        threads=Threads(1),
    )
    metrics = Metrics()
    admission = Admission(OverloadConfig(), metrics, budget_ms=60_000, max_in_flight=9)
    withdrawals = Withdrawals(users.store, bundle.catalogue.rows_by_id)
    kept = Kept(precomputed=precomputed, withdrawals=withdrawals)
    return Pipeline(stages, Fallback(bundle), metrics, admission, kept=kept)


def ask(pipeline: Pipeline, **request: object) -> Answer:
    message = Request.model_validate({"user_id": 7, "num_items": ITEMS, **request})
    return asyncio.run(pipeline.answer(message, "r"))


def ids(answer: Answer) -> list[int | str]:
    return [item.item_id for item in answer.items]


def test_every_instance_over_a_store_knows_at_once(store: Store) -> None:
    one, other = Withdrawals(store, ROWS), Withdrawals(store, {"c": 1, "x": 2})
    assert one.current().rows.tolist() == other.current().rows.tolist() == []
    one.withdraw("c")
    other.withdraw("x")
    one.withdraw("a")
    assert one.current().rows.tolist() == [1, 3]
    assert other.current().rows.tolist() == [1, 2]
    other.restore("c")
    assert one.current().rows.tolist() == [1]


def test_every_change_has_a_generation_of_its_own(store: Store) -> None:
    withdrawals, seen = Withdrawals(store, ROWS), []
    for change in (withdrawals.withdraw, withdrawals.withdraw, withdrawals.restore):
        change("b")
        assert withdrawals.current().generation == withdrawals.generation()
        seen.append(withdrawals.generation())
    assert len({"", *seen}) == 4


def test_withdrawals_outlive_the_process(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    Withdrawals(store, ROWS).withdraw("b")
    store.close()
    store = LmdbStore(tmp_path)
    assert Withdrawals(store, ROWS).current().rows.tolist() == [2]
    store.close()


def test_an_item_that_only_an_earlier_bundle_knew_can_be_restored(store: Store) -> None:
    Withdrawals(store, ROWS).withdraw("a")
    later = Withdrawals(store, {"z": 1})
    later.restore("a")
    with pytest.raises(UnknownItemError, match="no item 'a'"):
        later.restore("a")
    with pytest.raises(UnknownItemError, match="no item 'b'"):
        later.withdraw("b")


@pytest.mark.parametrize("fails", FAILING)
def test_a_withdrawn_item_is_shown_by_no_path(pipeline: Pipeline, fails: str) -> None:
    vars(pipeline.stages)["fails"] = fails
    before = ids(ask(pipeline))
    assert pipeline.kept.withdrawals is not None
    assert {100, 159} <= set(before)
    pipeline.kept.withdrawals.withdraw(159)
    pipeline.kept.withdrawals.withdraw("100")
    answer = ask(pipeline)
    assert ids(answer) == [item_id for item_id in before if item_id not in (100, 159)]
    assert answer.degraded == (f"{fails} failed" if fails else None)
    pipeline.kept.withdrawals.restore(100)
    pipeline.kept.withdrawals.restore(159)
    assert ids(ask(pipeline)) == before


def test_why_not_says_withdrawn(pipeline: Pipeline) -> None:
    assert pipeline.kept.withdrawals is not None
    pipeline.kept.withdrawals.withdraw(120)
    answer = ask(pipeline, explain=True, why_not=[120, "120"], exclude=[120])
    assert answer.why_not is not None
    told = [(one.stage, one.reason) for one in answer.why_not]
    assert told == [("filter", "withdrawn")] * 2


def test_a_store_that_cannot_be_read_leaves_what_was_withdrawn_before(bundle: ToyBundle) -> None:
    store = UnreadableStore()
    withdrawals = Withdrawals(store, bundle.catalogue.rows_by_id)
    withdrawals.withdraw(100)
    assert withdrawals.current().rows.tolist() == [1]
    store.is_broken = True
    metrics = Metrics()
    admission = Admission(OverloadConfig(), metrics, budget_ms=60_000, max_in_flight=9)
    stages = Failing(None, None, ranker=None, reranker=None, threads=Threads(1))
    stages.fails = "hydrate"
    kept = Kept(withdrawals=withdrawals)
    pipeline = Pipeline(stages, Fallback(bundle), metrics, admission, kept=kept)
    assert ids(ask(pipeline, num_items=2)) == [101, 102]


def test_popular_items_are_those_of_the_whole_list(bundle: ToyBundle) -> None:
    fallback, random = Fallback(bundle), np.random.default_rng(0)
    creators = bundle.catalogue.table["creator"].to_list()
    for _ in range(200):
        exclude = random.integers(95, 165, random.integers(0, 40)).tolist()
        withdrawn = np.unique(random.integers(0, ITEMS + 1, random.integers(0, 20)))
        own = [str(i) for i in random.permutation(np.arange(90, 160))[: random.integers(0, 9)]]
        creator = random.choice(["ada", ""])
        num_items = int(random.integers(1, 30))
        body = {"user_id": 1, "num_items": num_items, "exclude": exclude}
        request = Request.model_validate(
            body | ({"filters": {"creator": "ada"}} if creator else {})
        )
        slate = fallback.slate(
            request, None, Precomputed("b", 0, own, [0.5] * len(own)), withdrawn=withdrawn
        )
        in_order = [int(i) for i in own if int(i) >= 100]
        in_order += [i for i in range(100, 100 + ITEMS) if i not in in_order]
        left_out = {*exclude, *(row + 99 for row in withdrawn.tolist())}
        expected = [i for i in in_order if i not in left_out]
        if creator:
            expected = [i for i in expected if creators[i - 100] == "ada"]
        assert [item.item_id for item in slate.items] == expected[:num_items]
