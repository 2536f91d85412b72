"""Impressions of several partitions behave as one table."""

from pathlib import Path

import numpy as np
import pytest

from features.examples import Examples
from tests.toy_ranking import toy_examples
from train.impressions import Impressions

ROWS = 37


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return toy_examples(tmp_path_factory.mktemp("toy"), partitions=19, rows=ROWS)


def test_a_batch_across_partitions_equals_their_rows(examples: Examples) -> None:
    train = Impressions(examples, "train")
    index = np.asarray([ROWS * 5 + 3, 2, ROWS * 5 + 1, ROWS * 18])
    batch = train.batch(index)
    for row, (partition, offset) in enumerate([(0, 2), (5, 1), (5, 3), (18, 0)]):
        shard, timelines = examples.shard("train", partition), examples.timelines(partition)
        alone = examples.ranking_inputs(shard, timelines, np.asarray([offset]))
        for name, array in alone.items():
            np.testing.assert_array_equal(batch[name][row], array[0], err_msg=name)
        np.testing.assert_array_equal(batch["labels"][row], shard.labels[offset])


def test_a_shuffle_holds_every_impression_once_and_repeats_by_seed(examples: Examples) -> None:
    train = Impressions(examples, "train")
    order = train.shuffled((0, 1))
    np.testing.assert_array_equal(np.sort(order), np.arange(len(train)))
    np.testing.assert_array_equal(order, train.shuffled((0, 1)))
    assert (order != train.shuffled((0, 2))).any()


def test_a_batch_reads_few_of_many_partitions_but_mixes_them(examples: Examples) -> None:
    order = Impressions(examples, "train").shuffled((0, 0))
    partitions = np.unique(order[:64] // ROWS)
    assert 4 <= len(partitions) <= 8


def test_one_partition_is_shuffled_globally(tmp_path: Path) -> None:
    train = Impressions(toy_examples(tmp_path, partitions=1, rows=50), "train")
    order = train.shuffled((0, 0))
    assert (order != np.arange(50)).any()


def test_batches_in_order_cover_the_split(examples: Examples) -> None:
    test = Impressions(examples, "test")
    labels = np.concatenate([batch["labels"] for batch in test.in_order(64)])
    np.testing.assert_array_equal(labels, test.labels)


def test_a_limit_spreads_over_the_split(examples: Examples) -> None:
    test = Impressions(examples, "test")
    chosen = test.spaced(10)
    assert (chosen[0], chosen[-1]) == (0, len(test) - 1)
    assert len(np.unique(chosen)) == 10
    labels = np.concatenate([batch["labels"] for batch in test.in_order(4, 10)])
    np.testing.assert_array_equal(labels, test.labels[chosen])
