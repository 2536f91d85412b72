"""The ranker's loss: every task's error on the impressions that have its label."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from features.schema import Schema
from models.ranker import Ranker
from models.task_weights import TASK_WEIGHTS, TaskWeightsName

NUM_KNOWN = "num_known"


class RankerLoss(nn.Module):
    """Sums the tasks' mean losses, weighted; missing labels (NaN) do not count.

    A binary task's loss is the cross-entropy, a watch time's that of its objective.

    Args:
        ranker: the model that is trained.
        schema: gives the tasks.
        weights: of the tasks; None takes those that the data was prepared with.
        weighting: how the weights go on from there.
    """

    def __init__(
        self,
        ranker: Ranker,
        schema: Schema,
        weighting: TaskWeightsName = "fixed",
        *,
        weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.ranker = ranker
        self.names = tuple(task.name for task in schema.tasks)
        weights = weights or [task.weight for task in schema.tasks]
        self.task_weights = TASK_WEIGHTS[weighting](weights, first_losses(schema))

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of inputs and `labels` (batch, tasks), and each task's part.

        `num_known` (tasks,), where it is given, are the labels that the means divide by: with
        several workers their mean number of labels, so that no label counts more than another.
        """
        labels = batch["labels"]
        is_known = ~labels.isnan()
        shared = self.ranker.shared(batch)
        outputs = self.ranker.outputs(shared, batch).float()
        lengths = self.ranker.lengths(batch["item_numbers"])
        errors = self.ranker.heads.errors(outputs, labels.nan_to_num(), lengths)
        num_known = batch.get(NUM_KNOWN, is_known.sum(0).clamp(min=1))
        losses = (errors * is_known).sum(0) / num_known
        parts = dict(zip(self.names, losses.detach().unbind(), strict=True))
        total: Tensor = self.task_weights(losses, shared)
        return total, parts


def first_losses(schema: Schema) -> list[float]:
    """Return every task's loss at its base rate: the entropy; a half for a watch time."""
    return [
        0.5 if task.kind == "watch_time" else _entropy(rate)
        for task, rate in zip(schema.tasks, schema.base_rates, strict=True)
    ]


def _entropy(rate: float) -> float:
    return -sum(share * math.log(share) for share in (rate, 1 - rate) if share > 0)
