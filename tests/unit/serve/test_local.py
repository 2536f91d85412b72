"""Requests that are ranked in one call get what each would get alone."""

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from features.stores.memory import MemoryStore
from features.stores.record import UserEvent
from features.stores.recorder import Recorder
from models.config import RankerConfig
from models.export import export_ranker
from models.ranker import Ranker as RankerModel
from models.runtime.device import DevicePrograms
from models.runtime.programs import ExportedPrograms
from serve.counts import LatestCounts
from serve.hydration import Hydrator, UserSource
from serve.local import LocalStages
from serve.messages import Request
from serve.plan import FULL, DeadlinePassedError, Plan
from serve.ranking import Ask, Ranker
from serve.runtime import DEVICE_PROGRAMS
from serve.stages import BundleMismatchError, Candidates, Ranked
from serve.threads import Threads
from tests.toy_bundle import DATA_END_MS, ITEMS, ToyBundle
from tests.unit.serve.conftest import StoppedClock

LONG_S = 30.0
SIZES = (7, 1, 40, 0, 13)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory, bundle: ToyBundle) -> Path:
    """A ranker's exported programs, of the toy bundle's schema and with random weights."""
    torch.manual_seed(3)
    model = RankerModel(RankerConfig(), bundle.schema)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    source = UserSource(MemoryStore(), Recorder(bundle.schema), StoppedClock())
    hydrator = Hydrator(bundle, source, counts=LatestCounts(bundle), exclude_seen=True)
    items = Ranker(bundle, LatestCounts(bundle)).item_inputs(np.arange(1, 4), DATA_END_MS)
    example = {**hydrator.hydrate(Request(user_id="nobody")).inputs, **items}
    folder = tmp_path_factory.mktemp("programs")
    export_ranker(model, {name: torch.from_numpy(a) for name, a in example.items()}, folder)
    return folder


@pytest.fixture
def asks(hydrator: Hydrator, users: UserSource) -> list[Ask]:
    """Users of different histories with different numbers of candidates."""
    found = []
    for number, size in enumerate(SIZES):
        liked = [
            UserEvent(str(100 + 7 * number + k), DATA_END_MS - 1000 * (k + 1), {"click": 1.0})
            for k in range(number)
        ]
        user_id = str(number)
        users.store.update(
            {user_id: lambda record, liked=liked: users.recorder.appended(record, liked)}
        )
        rows = 1 + np.random.default_rng(number).permutation(ITEMS)[:size]
        found.append((hydrator.hydrate(Request(user_id=user_id)), candidates_of(hydrator, rows)))
    return found


def candidates_of(hydrator: Hydrator, rows: np.ndarray) -> Candidates:
    size = len(rows)
    return Candidates(
        bundle=hydrator.bundle.id,
        rows=rows,
        scores=np.linspace(1, 0, size, dtype=np.float32),
        sources=np.zeros(size, np.int64),
        source_names=("toy",),
    )


def ranker_on(kind: str, bundle: ToyBundle, programs: Path, *, max_batch: int = 8) -> Ranker:
    """Return the ranker of those programs on a device."""
    opened = DevicePrograms(ExportedPrograms(), torch.device(kind), DEVICE_PROGRAMS)
    own = ToyBundle(bundle.folder)
    own.programs |= {n: opened.open(programs / f"{n}.pt2", "") for n in DEVICE_PROGRAMS}
    return Ranker(own, LatestCounts(own), max_batch)


def check_equal(found: Ranked, expected: Ranked) -> None:
    assert found.tasks == expected.tasks
    assert found.candidates is expected.candidates
    assert found.predictions.dtype == np.float32
    np.testing.assert_allclose(found.predictions, expected.predictions, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", DEVICES)
def test_a_call_of_several_predicts_what_each_gets_alone(
    bundle: ToyBundle, programs: Path, asks: list[Ask], kind: str
) -> None:
    alone = ranker_on("cpu", bundle, programs, max_batch=1)
    expected = [alone.rank(*ask) for ask in asks]
    ranker = ranker_on(kind, bundle, programs)
    for ranked in (ranker.rank_together(asks), [ranker.rank(*ask) for ask in asks]):
        for one, own in zip(ranked, expected, strict=True):
            check_equal(one, own)
            (report,) = one.reports
            assert (report.num_in, report.num_out) == (len(own.candidates.rows),) * 2
    # They would differ if users were mixed up.
    rows = asks[0][1]
    others = [alone.rank(query, rows).predictions for query, _ in asks]
    assert not np.allclose(others[0], others[4], rtol=1e-3)


def test_nobody_has_candidates(bundle: ToyBundle, programs: Path, asks: list[Ask]) -> None:
    ranker = ranker_on("cpu", bundle, programs)
    assert [one.tasks for one in ranker.rank_together([asks[3], asks[3]])] == [(), ()]


def test_an_older_bundle_ranks_one_by_one(bundle: ToyBundle, asks: list[Ask]) -> None:
    class Older(ToyBundle):
        """A bundle from before requests were ranked together."""

        @property
        def has_batch_ranker(self) -> bool:
            """It has no program for it."""
            return False

    ranker = Ranker(Older(bundle.folder), LatestCounts(bundle), max_batch=8)
    assert ranker.max_batch == 1
    found = ranker.rank_together(asks[:2])
    check_equal(found[0], ranker.rank(*asks[0]))


def test_what_waits_is_ranked_together_and_only_the_wrong_fails(
    bundle: ToyBundle, programs: Path, asks: list[Ask]
) -> None:
    ranker, sizes = ranker_on("cpu", bundle, programs), list[int]()
    expected = [ranker.rank(*ask) for ask in asks]
    late = Plan(deadline_ms=1000 * (time.time() - 1))
    foreign = replace(asks[2][1], bundle="other")

    async def run() -> Sequence[Ranked | BaseException]:
        threads = Threads(1, tell=sizes.append)
        stages = LocalStages(None, None, ranker=ranker, reranker=None, threads=threads)
        entered, opened = threading.Event(), threading.Event()
        first = asyncio.ensure_future(threads.run(FULL, _wait, entered, opened))
        await asyncio.to_thread(entered.wait, LONG_S)
        jobs = [
            *(asyncio.ensure_future(stages.rank(*ask)) for ask in asks),
            asyncio.ensure_future(stages.rank(asks[2][0], foreign)),
            asyncio.ensure_future(stages.rank(replace(asks[0][0], plan=late), asks[0][1])),
        ]
        await asyncio.sleep(0)
        opened.set()
        found = await asyncio.gather(*jobs, return_exceptions=True)
        await first
        threads.close()
        return found

    *ranked, mismatch, dropped = asyncio.run(run())
    assert sizes == [len(asks) + 1]
    assert isinstance(mismatch, BundleMismatchError)
    assert isinstance(dropped, DeadlinePassedError)
    for one, own in zip(ranked, expected, strict=True):
        assert isinstance(one, Ranked)
        check_equal(one, own)


def _wait(entered: threading.Event, opened: threading.Event) -> None:
    entered.set()
    assert opened.wait(LONG_S)
