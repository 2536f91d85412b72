"""Orders: what is published is the finished model, and want of memory is one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pyarrow import fs

from cluster.errors import InputError
from cluster.storage import Storage
from features.examples import EXAMPLES
from tests.linear import Silence
from tests.toy_ranking import TASKS, toy_examples
from train.checkpoints import Checkpoints, checkpoint_name
from train.config import TrainSettings
from train.memory_shortage import memory_shortage_told
from train.order import Order
from train.peers import Peers
from train.plain import PlainRuntime
from train.snapshot import Snapshot

SHIFT = "ranker.heads.calibration.shift"
BEYOND_ALL_ADDRESSES = 8_000_000
"""The square of so many numbers is no machine's to give."""


def order_of(root: Path, **sections: Any) -> Order:
    storage = Storage(str(root), "toy")
    examples = toy_examples(storage.local / EXAMPLES)
    settings = TrainSettings.model_validate(
        {
            "recommender": "toy",
            "storage": {"root": str(root)},
            "dataset": {"format": "synthetic"},
            "tasks": TASKS,
            "train": {"ranking": {"epochs": 1, "batch_size": 64}},
            **sections,
        }
    )
    return Order.of(settings, "ranking", examples)


def runtime_of(order: Order) -> PlainRuntime:
    path = str(order.storage.local / order.run)
    return PlainRuntime(Checkpoints(fs.LocalFileSystem(), path, order.identity), Silence())


def test_what_is_published_is_the_finished_model(tmp_path: Path) -> None:
    order = order_of(tmp_path)
    order.carry_out(runtime_of(order))
    assert order.is_done
    weights = torch.load(order.storage.fetch(order.artifact) / "model.pt")
    assert weights[SHIFT].abs().max() > 0


def test_a_model_that_no_memory_holds_is_one_line_that_names_the_keys(tmp_path: Path) -> None:
    ranker = {"width": 8, "expert_dims": (1, BEYOND_ALL_ADDRESSES, BEYOND_ALL_ADDRESSES)}
    order = order_of(tmp_path, models={"ranker": ranker})
    told = r"train.ranking: out of memory \(one piece .*batch_size \(64\).* in models.ranker smal"
    with pytest.raises(InputError, match=told):
        order.carry_out(runtime_of(order))
    assert not order.is_done


def test_numpy_and_the_gpu_tell_of_a_shortage_alike(tmp_path: Path) -> None:
    settings = order_of(tmp_path).settings
    told = "train.ranking: out of memory"
    with pytest.raises(InputError, match=told), memory_shortage_told(settings, "ranking"):
        np.zeros((BEYOND_ALL_ADDRESSES, BEYOND_ALL_ADDRESSES))
    told += r" \(one piece wants 2 GiB\)"
    with pytest.raises(InputError, match=told), memory_shortage_told(settings, "ranking"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


def test_other_errors_stay_what_they_are(tmp_path: Path) -> None:
    settings = order_of(tmp_path).settings
    with (
        pytest.raises(RuntimeError, match="tensor size"),
        memory_shortage_told(settings, "ranking"),
    ):
        torch.zeros(2) @ torch.zeros(3)


def test_an_interrupted_training_is_gone_on_with_or_it_is_said_why_not(tmp_path: Path) -> None:
    def with_workers(num_workers: int, batch_size: int) -> Order:
        ranking = {"epochs": 1, "batch_size": batch_size}
        return order_of(tmp_path, train={"num_workers": num_workers, "ranking": ranking})

    begun = with_workers(1, 64)
    assert begun.interrupted() is None
    state = {"model": {}, "position": {"epoch": 1, "step": 0, "best_epoch": 1}}
    checkpoints = Checkpoints.of(begun.storage, begun.run, begun.identity)
    checkpoints.write(checkpoint_name(state), Snapshot(state, 0, 1), Peers())
    same, other = with_workers(2, 32), with_workers(2, 64)
    assert (same.run, same.interrupted()) == (begun.run, None)
    assert other.interrupted() == (
        f"{begun.run} is another training: "
        "train.ranking.batch_size of all workers is '64', not '128'"
    )
