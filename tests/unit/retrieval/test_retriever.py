"""Retrieval of a published bundle: quotas, attribution, exclusions, filters."""

from pathlib import Path

import numpy as np
import pytest

from cluster.storage import Storage
from features.assembly import Inputs
from features.encoding import DAY_MS
from features.examples import Examples
from models.bundle import Bundle
from retrieval.audience import audience_inputs, audience_vectors
from retrieval.config import RetrievalConfig
from retrieval.ingredients import Ingredients
from retrieval.making import make_bundle
from retrieval.retriever import Retriever
from retrieval.user_tower import UserTower
from tests.toy_recommender import DATA_END_MS, toy_recommender, toy_settings

QUOTAS = {"two_tower": 10, "popular": 4, "fresh": 2}


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A toy recommender's storage."""
    return toy_recommender(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def bundle(storage: Storage, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A toy bundle, in no registry."""
    settings = toy_settings(Path(storage.root), popular={"context": "tab"})
    folder = tmp_path_factory.mktemp("bundle")
    make_bundle(folder, Ingredients.open(settings, storage))
    return Bundle(folder)


@pytest.fixture(scope="module")
def retriever(bundle: Bundle) -> Retriever:
    """Its retriever, asking all three sources."""
    return Retriever.open(bundle, RetrievalConfig.model_validate({"quotas": QUOTAS}))


@pytest.fixture(scope="module")
def inputs(storage: Storage) -> Inputs:
    """One user's inputs."""
    return next(audience_inputs(Examples.open(storage), DATA_END_MS, 2))


def test_every_source_has_its_quota_and_every_candidate_its_source(
    retriever: Retriever, inputs: Inputs
) -> None:
    found = retriever.retrieve(inputs, now_ms=DATA_END_MS)
    assert found.names == ("two_tower", "popular", "fresh")
    assert np.bincount(found.source).tolist() == [10, 4, 2]
    assert len(np.unique(found.rows)) == 16
    assert found.scores[:10] - found.similarity[:10] == pytest.approx(0, abs=2e-3)


def test_similarity_is_the_cosine_with_the_users_vector(
    retriever: Retriever, inputs: Inputs, bundle: Bundle
) -> None:
    found = retriever.retrieve(inputs, now_ms=DATA_END_MS)
    vector = UserTower(bundle.program("user_tower")).vectors(inputs)[0]
    wanted = bundle.array("item_vectors")[found.rows] @ vector
    np.testing.assert_allclose(found.similarity, wanted, rtol=1e-6)
    assert np.linalg.norm(vector) == pytest.approx(1)


def test_excluded_items_leave_no_holes(retriever: Retriever, inputs: Inputs) -> None:
    first = retriever.retrieve(inputs, now_ms=DATA_END_MS)
    second = retriever.retrieve(inputs, now_ms=DATA_END_MS, excluded=first.rows)
    assert np.bincount(second.source).tolist() == [10, 4, 2]
    assert not np.isin(second.rows, first.rows).any()


def test_filter_is_kept_by_every_source(retriever: Retriever, inputs: Inputs) -> None:
    allowed = np.asarray([4, 9, 33, 59])
    found = retriever.retrieve(
        inputs, now_ms=DATA_END_MS, allowed=allowed, excluded=np.asarray([9, -3, 10**6])
    )
    assert sorted(found.rows) == [4, 33, 59]


def test_nothing_permitted_is_an_empty_answer(retriever: Retriever, inputs: Inputs) -> None:
    found = retriever.retrieve(inputs, now_ms=DATA_END_MS, allowed=np.zeros(0, np.int64))
    assert len(found) == 0


def test_before_the_first_publication_others_fill_in_for_fresh(
    retriever: Retriever, inputs: Inputs
) -> None:
    found = retriever.retrieve(inputs, now_ms=-DAY_MS)
    assert len(found) == 16
    assert np.bincount(found.source, minlength=3)[2] == 0


def test_a_source_without_quota_is_not_asked(bundle: Bundle, inputs: Inputs) -> None:
    config = RetrievalConfig.model_validate({"quotas": {**QUOTAS, "popular": 0}})
    found = Retriever.open(bundle, config).retrieve(inputs, now_ms=DATA_END_MS)
    assert found.names == ("two_tower", "fresh")
    assert np.bincount(found.source).tolist() == [10, 2]


def test_quotas_above_the_catalogue_return_every_item_once(bundle: Bundle, inputs: Inputs) -> None:
    found = Retriever.open(bundle, RetrievalConfig()).retrieve(inputs, now_ms=DATA_END_MS)
    assert sorted(found.rows) == list(range(1, 61))


def test_audience_is_spread_over_partitions(storage: Storage, bundle: Bundle) -> None:
    tower = UserTower(bundle.program("user_tower"))
    examples = Examples.open(storage)
    vectors = audience_vectors(examples, tower, DATA_END_MS, 10)
    assert vectors.shape == (10, 8)
    assert len(np.unique(vectors, axis=0)) > 5
    assert len(audience_vectors(examples, tower, DATA_END_MS, 10**6)) == 40
