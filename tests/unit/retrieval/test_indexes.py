"""The indexes: what they find is what a scan of every item finds."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.candidates import permitted_rows
from retrieval.config import IndexConfig
from retrieval.exact import ExactIndex
from retrieval.indexes import build_index, open_index, save_index
from retrieval.ivf import IvfIndex
from retrieval.recall import Truth

NOTHING = np.zeros(0, np.int64)
HALF_PRECISION = 2e-3


def unit_vectors(n: int, dim: int, seed: int = 0) -> np.ndarray:
    """Return n unit vectors below a zero row."""
    vectors = np.random.default_rng(seed).normal(size=(n + 1, dim)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0
    return vectors


def clustered(n: int, dim: int, clusters: int, seed: int = 0) -> np.ndarray:
    """Return unit vectors around some centres, below a zero row."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dim))
    vectors = centres[random.integers(0, clusters, n + 1)] + 0.4 * random.normal(size=(n + 1, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0
    return vectors.astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    items=st.integers(1, 300),
    count=st.integers(0, 400),
    seed=st.integers(0, 2**16),
    share=st.floats(0, 1),
)
def test_exact_search_equals_brute_force(items: int, count: int, seed: int, share: float) -> None:
    vectors = unit_vectors(items, 8, seed)
    random = np.random.default_rng(seed)
    excluded = np.flatnonzero(random.random(items + 1) < share)
    permitted = permitted_rows(items + 1, excluded)
    query = unit_vectors(1, 8, seed + 1)[1]
    found = ExactIndex.build(vectors).search(query, count, permitted)
    scores = np.where(permitted, vectors @ query, -2)
    wanted = np.sort(scores)[::-1][: min(count, int(permitted.sum()))]
    assert len(found) == len(wanted)
    assert permitted[found.rows].all()
    assert len(np.unique(found.rows)) == len(found)
    np.testing.assert_allclose(vectors[found.rows] @ query, wanted, atol=HALF_PRECISION)
    np.testing.assert_allclose(found.scores, wanted, atol=HALF_PRECISION)
    assert (np.diff(found.scores) <= 0).all()


def test_row_zero_is_not_found_even_where_all_scores_are_negative() -> None:
    vectors = unit_vectors(20, 4)
    vectors[1:] = [1, 0, 0, 0]
    found = ExactIndex.build(vectors).search(-vectors[1], 50, permitted_rows(21, NOTHING))
    assert sorted(found.rows) == list(range(1, 21))


@pytest.fixture(scope="module")
def large() -> tuple[np.ndarray, Truth]:
    """Vectors that an IVF index is worth building over, and users to tune it on."""
    vectors = clustered(6_000, 16, 40)
    queries = clustered(63, 16, 40, seed=0)[1:]
    return vectors, Truth.scan(vectors, queries, 100)


def test_ivf_is_tuned_to_its_recall_without_probing_everything(
    large: tuple[np.ndarray, Truth],
) -> None:
    vectors, truth = large
    index = IvfIndex.build(vectors, truth, 0.95)
    assert truth.recall(index) >= 0.95
    assert index.num_probes < index.index.nlist // 2


def test_ivf_leaves_no_holes_when_few_items_are_permitted(large: tuple[np.ndarray, Truth]) -> None:
    vectors, truth = large
    index = IvfIndex.build(vectors, truth, 0.5)
    allowed = np.arange(1, 6_001, 8)
    permitted = permitted_rows(len(vectors), NOTHING, allowed)
    for query in truth.queries[:5]:
        found = index.search(query, 700, permitted)
        assert len(np.unique(found.rows)) == 700
        assert permitted[found.rows].all()
    assert len(index.search(truth.queries[0], 10_000, permitted)) == len(allowed)


def test_auto_takes_ivf_above_the_threshold(large: tuple[np.ndarray, Truth]) -> None:
    vectors, truth = large
    assert build_index(vectors, truth, IndexConfig(ivf_threshold=6_000)).kind == "exact"
    assert build_index(vectors, truth, IndexConfig(ivf_threshold=5_999)).kind == "ivf"


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_saved_index_finds_the_same(
    kind: str, large: tuple[np.ndarray, Truth], tmp_path: Path
) -> None:
    vectors, truth = large
    built = build_index(vectors, truth, IndexConfig.model_validate({"kind": kind}))
    save_index(built, tmp_path / "index")
    opened = open_index(tmp_path / "index")
    permitted = permitted_rows(len(vectors), np.arange(50))
    for query in truth.queries[:5]:
        ours, theirs = (one.search(query, 100, permitted) for one in (built, opened))
        np.testing.assert_array_equal(ours.rows, theirs.rows)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
