"""A planted leak: a column that copies the label one second late improves nothing.

The copy arrives as an event of its own, one second after the impression, for the same user and
item. Read point-in-time it is not there yet when the impression is shown; read two seconds early
it gives the answer away, which shows that the test would notice.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from features.config import DatasetConfig, TaskConfig
from features.datasets.registry import open_dataset
from features.examples import Examples
from tests.in_process import TableAdapter, prepare_here

pytestmark = pytest.mark.quality

CLICK = TaskConfig(name="click", column="click")
ECHO = TaskConfig(name="echo", column="echo")
LATE_MS, EARLY_MS = 1_000, -1_000
WORLD = DatasetConfig(format="synthetic", users=400, items=150, events=40_000, seed=3)
FEATURES: dict[str, Any] = {
    "split": {"kind": "time", "validation": "2d", "test": "5d"},
    "history_length": 10,
    "rates": {"interval": "1h", "entities": ["user", "item"]},
}
Floats = npt.NDArray[np.float64]


def world() -> TableAdapter:
    """Return the synthetic world's impressions, with only the click as their label."""
    adapter = open_dataset(WORLD, [CLICK])
    blocks = [block.events for s in adapter.sources() for block in s.blocks(1_000_000)]
    kept = ["user_id", "item_id", "timestamp", "surface", "click"]
    return TableAdapter([pa.concat_tables(blocks).select(kept)], adapter.items(), adapter.users())


def with_echo(adapter: TableAdapter, delay_ms: int) -> TableAdapter:
    """Add each label's copy as an event that comes `delay_ms` after its impression."""
    impressions = adapter.events[0]
    nothing = pa.nulls(impressions.num_rows, pa.bool_())
    place = impressions.schema.get_field_index("timestamp")
    moved = pc.add(impressions["timestamp"], pa.scalar(delay_ms, pa.duration("ms")))
    echoes = impressions.set_column(place, "timestamp", moved)
    echoes = echoes.rename_columns({"click": "echo"}).append_column("click", nothing)
    both = [impressions.append_column("echo", nothing), echoes]
    names = both[0].column_names
    return TableAdapter(
        [table.select(names) for table in both], adapter.item_table, adapter.user_table
    )


def measured_auc(root: Path, adapter: TableAdapter, tasks: list[TaskConfig]) -> float:
    """Train a logistic regression on the prepared inputs; return its AUC on test clicks."""
    sections = {
        "tasks": [task.model_dump() for task in tasks],
        "retrieval": {"positive": tasks[-1].name},
    }
    examples = prepare_here(root, adapter, FEATURES, **sections)
    train_inputs, train_labels = regressors(examples, "train")
    test_inputs, test_labels = regressors(examples, "test")
    mean, std = train_inputs.mean(axis=0), train_inputs.std(axis=0) + 1e-6
    weights = fitted((train_inputs - mean) / std, train_labels)
    return auc(test_labels, ((test_inputs - mean) / std) @ weights)


def regressors(examples: Examples, split: str) -> tuple[Floats, Floats]:
    """Return what the models see of impressions, flattened, and their clicks.

    Of the history: how long ago the newest event was, alone and where it was the same item.
    """
    shard, timelines = examples.shard(split, 0), examples.timelines(0)
    index = np.flatnonzero(np.isfinite(shard.labels[:, 0]))
    inputs = examples.ranking_inputs(shard, timelines, index)
    lengths = (inputs["history_gaps"] > 0).sum(axis=1)
    newest = np.maximum(lengths - 1, 0)[:, None]
    gap = np.take_along_axis(inputs["history_gaps"], newest, axis=1)[:, 0]
    item = np.take_along_axis(inputs["history_codes"][..., 0], newest, axis=1)[:, 0]
    gaps = np.eye(34)[gap] * (lengths > 0)[:, None]
    same = gaps * (item == inputs["item_codes"][:, 0])[:, None]
    numbers = [inputs[name] for name in ("user_numbers", "user_rates", "item_rates", "item_age")]
    contexts = np.eye(30)[inputs["context_codes"]].reshape(len(index), -1)
    columns = [*numbers, contexts, gaps, same, np.ones((len(index), 1))]
    flat = np.concatenate(columns, axis=1).astype(np.float64)
    return flat, shard.labels[index, 0].astype(np.float64)


def fitted(inputs: Floats, labels: Floats) -> Floats:
    """Fit a logistic regression with a little ridge."""
    x, y = torch.from_numpy(inputs), torch.from_numpy(labels)
    weights = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(x @ weights, y)
        value = value + 1e-4 * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return np.asarray(weights.detach().numpy())


def auc(labels: Floats, scores: Floats) -> float:
    """Return the area under the ROC curve; ties count half."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = labels.sum()
    negatives = len(labels) - positives
    below = ranks[labels > 0].sum() - positives * (positives + 1) / 2
    return float(below / (positives * negatives))


def test_a_late_copy_of_the_label_improves_nothing(tmp_path: Path) -> None:
    adapter = world()
    without = measured_auc(tmp_path / "without", adapter, [CLICK])
    late = measured_auc(tmp_path / "late", with_echo(adapter, LATE_MS), [CLICK, ECHO])
    early = measured_auc(tmp_path / "early", with_echo(adapter, EARLY_MS), [CLICK, ECHO])
    assert without > 0.6, "the model has learned nothing, so a gain would prove nothing"
    assert late - without < 0.005
    assert early > 0.95
