"""Two-tower batches: functions of the seed, complete, and blind to other splits."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from features.examples import Examples
from tests.toy_retrieval import NEW_ITEM, Event, random_timelines, toy_examples
from train.config import RetrievalTraining
from train.objective import Batch
from train.retrieval_batches import RetrievalBatches

TRAINING = RetrievalTraining(batch_size=3)


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    timelines = random_timelines(np.random.default_rng(4))
    return toy_examples(tmp_path_factory.mktemp("toy"), timelines)


def batches_of(
    examples: Examples, *, exclude_seen: bool = False, **training: object
) -> RetrievalBatches:
    config = TRAINING.model_copy(update=training)
    return RetrievalBatches(examples, config, exclude_seen=exclude_seen)


def target_rows(*workers: Batch) -> np.ndarray:
    """Return all workers' targets of a step as catalogue rows, through the item ids' codes."""
    candidates = candidate_rows(*workers)
    return np.concatenate([candidates[batch["targets"].numpy()] for batch in workers])


def candidate_rows(*workers: Batch) -> np.ndarray:
    """Put the workers' shares of a step's candidates together."""
    count = len(workers[0]["offsets"])
    share = -(-count // len(workers))
    shares = [batch["item_codes"][:share, 1].numpy() for batch in workers]
    return np.concatenate(shares)[:count]


def train_items(examples: Examples, *, distinct: bool) -> list[int]:
    items: list[int] = []
    for partition in range(examples.num_partitions):
        timelines = examples.timelines(partition)
        for begin, end in zip(timelines.offsets[:-1], timelines.offsets[1:], strict=True):
            own = timelines.items[begin:end][timelines.split[begin:end] == 0].tolist()
            items += set(own) if distinct else own
    return sorted(items)


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("num_workers", [1, 2])
def test_an_epoch_holds_every_training_positive(
    examples: Examples, exclude_seen: bool, num_workers: int
) -> None:
    batches = batches_of(examples, exclude_seen=exclude_seen)
    ranks = [list(batches.epoch(0, rank, num_workers)) for rank in range(num_workers)]
    assert {len(epoch) for epoch in ranks} == {batches.num_steps(num_workers)}
    seen = [int(row) for step in zip(*ranks, strict=True) for row in target_rows(*step)]
    wanted = train_items(examples, distinct=exclude_seen)
    extra = len(seen) - len(wanted)
    assert extra >= 0
    for item in set(wanted):
        assert seen.count(item) >= wanted.count(item)


def test_batches_are_a_function_of_seed_epoch_and_rank(examples: Examples) -> None:
    def first(epoch: int, rank: int, seed: int = 0) -> Batch:
        return next(batches_of(examples, seed=seed).epoch(epoch, rank, 2))

    same = first(1, 0), first(1, 0)
    assert all((same[0][name] == same[1][name]).all() for name in same[0])
    for other in (first(2, 0), first(1, 1), first(1, 0, seed=1)):
        assert any(
            same[0][name].shape != other[name].shape or (same[0][name] != other[name]).any()
            for name in ("targets", "history", "user_codes")
        )


def test_a_sampled_step_holds_targets_and_history_beside_the_negatives(
    examples: Examples,
) -> None:
    full = batches_of(examples)
    sampled = batches_of(examples, full_softmax_items=0, num_negatives=4)
    for one, other in zip(full.epoch(0, 0, 1), sampled.epoch(0, 0, 1), strict=True):
        np.testing.assert_array_equal(target_rows(one), target_rows(other))
        assert (other["targets"] < len(other["offsets"])).all()
        assert (other["offsets"] >= 0).all()
        is_real = one["history_steps"] > 0
        items = [b["item_codes"][b["history"], 1][is_real] for b in (one, other)]
        np.testing.assert_array_equal(*items)


@pytest.mark.parametrize("full_softmax_items", [0, 1000])
def test_all_workers_of_a_step_rank_the_candidates_of_one_process(
    examples: Examples, full_softmax_items: int
) -> None:
    def steps(num_workers: int) -> Iterator[tuple[Batch, ...]]:
        batches = batches_of(
            examples,
            batch_size=6 // num_workers,
            full_softmax_items=full_softmax_items,
            num_negatives=4,
        )
        epochs = (batches.epoch(2, rank, num_workers) for rank in range(num_workers))
        return zip(*epochs, strict=True)

    for num_workers in (2, 3):
        for (alone,), shared in zip(steps(1), steps(num_workers), strict=True):
            np.testing.assert_array_equal(candidate_rows(alone), candidate_rows(*shared))
            assert all(torch.equal(alone["offsets"], batch["offsets"]) for batch in shared)
            together = np.sort(target_rows(*shared))
            np.testing.assert_array_equal(together, np.sort(target_rows(alone)))


def test_weights_add_up_to_the_same_over_an_epoch_however_it_is_cut(examples: Examples) -> None:
    for num_workers, size in ((1, 3), (2, 2), (1, 100)):
        batches = batches_of(examples, batch_size=size)
        steps = batches.num_steps(num_workers)
        total = sum(
            float(batch["weights"].sum())
            for rank in range(num_workers)
            for batch in batches.epoch(0, rank, num_workers)
        )
        assert total / (steps * num_workers) == pytest.approx(1.0, rel=0.35)


def test_an_older_positive_counts_half_after_the_half_life(tmp_path: Path) -> None:
    examples = toy_examples(tmp_path, [[Event(1, 0), Event(2, 50), Event(3, 100)]])
    batch = next(batches_of(examples, half_life=50_000).epoch(0, 0, 1))
    weights = batch["weights"].numpy()
    np.testing.assert_allclose(weights / weights[-1], [0.25, 0.5, 1.0])


def test_items_that_training_never_showed_are_no_candidates(examples: Examples) -> None:
    batch = next(batches_of(examples).epoch(0, 0, 1))
    candidates = batch["item_codes"][: len(batch["offsets"]), 1].tolist()
    assert NEW_ITEM not in candidates
    assert 0 not in candidates


def test_a_user_of_one_event_is_a_cold_start_example(tmp_path: Path) -> None:
    examples = toy_examples(tmp_path, [[Event(4, 10)], [Event(5, 20)]])
    batch = next(batches_of(examples).epoch(0, 0, 1))
    assert batch["history"].shape == (2, 0)
    assert batch["target_states"].tolist() == [0, 0]


def test_what_a_user_had_is_barred_only_where_answers_leave_it_out(tmp_path: Path) -> None:
    timeline = [Event(3, 10), Event(5, 20), Event(3, 30), Event(7, 40)]
    examples = toy_examples(tmp_path, [timeline], partitions=1)
    for exclude_seen in (True, False):
        batches = RetrievalBatches(examples, TRAINING, exclude_seen=exclude_seen)
        batch = batches.batch(batches.windows, np.random.default_rng(0))
        assert ("barred" in batch) == exclude_seen
        if exclude_seen:
            assert batch["barred"].tolist() == batch["history"].tolist()
            assert (batch["barred"] < len(batch["offsets"])).all()
