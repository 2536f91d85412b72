"""The recall check: it measures against the truth and refuses by the figure."""

import numpy as np
import pytest

from cluster.errors import InputError
from retrieval.candidates import Candidates
from retrieval.exact import ExactIndex
from retrieval.recall import Truth, check_recall
from retrieval.subset import scan


class Forgetful:
    """Finds only the first `share` of what it should."""

    kind = "forgetful"

    def __init__(self, vectors: np.ndarray, share: float) -> None:
        self.vectors = vectors
        self.share = share

    def search(self, vector: np.ndarray, count: int, permitted: np.ndarray) -> Candidates:
        """Scan, then forget."""
        found = scan(self.vectors, np.flatnonzero(permitted), vector, count)
        kept = round(self.share * count)
        return Candidates(found.rows[:kept], found.scores[:kept])

    def save(self, folder: object) -> None:
        """Is not asked for."""
        raise AssertionError(folder)


@pytest.fixture
def vectors() -> np.ndarray:
    """Unit vectors, three of them equal."""
    vectors = np.random.default_rng(3).normal(size=(101, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0
    vectors[2:4] = vectors[1]
    return vectors


def test_recall_is_the_share_that_was_found(vectors: np.ndarray) -> None:
    truth = Truth.scan(vectors, vectors[10:50], 20)
    assert truth.recall(Forgetful(vectors, 1.0)) == 1
    assert truth.recall(Forgetful(vectors, 0.75)) == pytest.approx(0.75)


def test_equal_items_stand_for_each_other(vectors: np.ndarray) -> None:
    truth = Truth.scan(vectors, vectors[1:2], 1)
    assert truth.recall(ExactIndex.build(vectors)) == 1
    assert truth.thresholds[0] == pytest.approx(1)


def test_more_candidates_than_items_are_no_misses(vectors: np.ndarray) -> None:
    assert Truth.scan(vectors, vectors[1:9], 500).recall(ExactIndex.build(vectors)) == 1


def test_poor_index_is_refused_with_its_figure(vectors: np.ndarray) -> None:
    truth = Truth.scan(vectors, vectors[10:50], 20)
    with pytest.raises(InputError, match=r"finds 0\.9000 of the true top 20 .*min_recall is 0\.95"):
        check_recall(Forgetful(vectors, 0.9), truth, 0.95)


def test_halves_share_no_user(vectors: np.ndarray) -> None:
    tuning, check = Truth.scan(vectors, vectors[10:51], 20).split()
    assert len(tuning.queries) + len(check.queries) == 41
    assert not (tuning.queries[:, None] == check.queries[None]).all(-1).any()
    only, same = Truth.scan(vectors, vectors[5:6], 20).split()
    assert only is same
