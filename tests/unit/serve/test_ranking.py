"""Retrieval and ranking of one request over the toy bundle."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from retrieval.config import RetrievalConfig
from serve.counts import LatestCounts
from serve.hydration import Hydrator
from serve.messages import Request
from serve.ranking import Ranker
from serve.sources import Sources
from serve.stages import BundleMismatchError
from tests.toy_bundle import ITEMS, TASKS, ToyBundle


@pytest.fixture(scope="module")
def sources(bundle: ToyBundle) -> Sources:
    return Sources.open(bundle, RetrievalConfig())


@pytest.fixture(scope="module")
def ranker(bundle: ToyBundle) -> Ranker:
    return Ranker(bundle, LatestCounts(bundle))


def test_candidates_are_permitted_items_nearest_first(hydrator: Hydrator, sources: Sources) -> None:
    query = hydrator.hydrate(Request(user_id=1, exclude=[100, 101], filters={"creator": ["bo"]}))
    found = sources.retrieve(query)
    creators = hydrator.bundle.catalogue.table["creator"].to_list()
    wanted = {r for r, creator in enumerate(creators, 1) if creator == "bo"} - {1, 2}
    assert set(found.rows.tolist()) == wanted
    assert (np.diff(found.scores) <= 0).all()


def test_a_filter_without_items_gives_no_candidates(
    hydrator: Hydrator, sources: Sources, ranker: Ranker
) -> None:
    query = hydrator.hydrate(Request(user_id=1, filters={"creator": ["nobody"]}))
    found = sources.retrieve(query)
    assert len(found.rows) == 0
    assert ranker.rank(query, found).tasks == ()


def test_every_candidate_gets_every_tasks_prediction(
    hydrator: Hydrator, sources: Sources, ranker: Ranker
) -> None:
    query = hydrator.hydrate(Request(user_id=1))
    ranked = ranker.rank(query, sources.retrieve(query))
    assert ranked.tasks == tuple(task.name for task in TASKS)
    expected = ranked.candidates.rows / (ITEMS + 1)
    np.testing.assert_allclose(ranked.predictions[:, 0], expected, rtol=1e-6)


def test_without_a_ranker_the_candidates_come_through(
    hydrator: Hydrator, sources: Sources, bundle_without_ranker: ToyBundle
) -> None:
    unranked = Ranker(bundle_without_ranker, LatestCounts(bundle_without_ranker))
    query = replace(hydrator.hydrate(Request(user_id=1)), bundle=bundle_without_ranker.id)
    found = replace(sources.retrieve(replace(query, bundle=sources.bundle.id)), bundle=query.bundle)
    ranked = unranked.rank(query, found)
    assert ranked.tasks == ()
    assert ranked.candidates is found


def test_a_ranker_that_says_nothing_fails(hydrator: Hydrator, sources: Sources) -> None:
    class Silent:
        def __call__(self, state: object, items: object) -> object:
            return silent(state, items) * float("nan")

    bundle = sources.bundle
    ranker = Ranker(bundle, LatestCounts(bundle))
    silent = ranker._item_side
    ranker._item_side = Silent()  # type: ignore[assignment]
    query = hydrator.hydrate(Request(user_id=1))
    with pytest.raises(ValueError, match="no finite prediction"):
        ranker.rank(query, sources.retrieve(query))


def test_a_request_of_another_bundle_is_refused(
    hydrator: Hydrator, sources: Sources, ranker: Ranker
) -> None:
    query = hydrator.hydrate(Request(user_id=1))
    found = sources.retrieve(query)
    with pytest.raises(BundleMismatchError, match="other"):
        sources.retrieve(replace(query, bundle="other"))
    with pytest.raises(BundleMismatchError, match="other"):
        ranker.rank(query, replace(found, bundle="other"))


def test_what_stages_hand_over_travels_between_processes(
    hydrator: Hydrator, sources: Sources, ranker: Ranker
) -> None:
    query = hydrator.hydrate(Request(user_id=1))
    ranked = ranker.rank(query, sources.retrieve(query))
    copy = pickle.loads(pickle.dumps((query, ranked)))
    assert copy[0].bundle == query.bundle
    np.testing.assert_array_equal(copy[1].predictions, ranked.predictions)


def test_every_stage_reports_its_numbers(
    hydrator: Hydrator, sources: Sources, ranker: Ranker
) -> None:
    query = hydrator.hydrate(Request(user_id=1))
    found = sources.retrieve(query)
    ranked = ranker.rank(query, found)
    reports = [*query.reports, *found.reports, *ranked.reports]
    assert [r.stage for r in reports] == ["hydrate", "retrieve", "filter", "rank"]
    assert all(report.time_ms > 0 for report in reports)
    assert reports[-1].num_out == len(found.rows)
