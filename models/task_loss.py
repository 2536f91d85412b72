"""The ranker's loss: every task's error on the impressions that have its label."""

import torch
from torch import Tensor, nn

from features.schema import Schema
from models.ranker import Ranker


class RankerLoss(nn.Module):
    """Sums the tasks' mean losses by their weights; missing labels (NaN) do not count.

    A binary task's loss is the cross-entropy, a watch time's half the squared error of log1p of
    the seconds.

    Args:
        ranker: the model that is trained.
        schema: gives tasks and weights.
    """

    weights: Tensor
    is_watch_time: Tensor

    def __init__(self, ranker: Ranker, schema: Schema) -> None:
        super().__init__()
        self.ranker = ranker
        self.names = tuple(task.name for task in schema.tasks)
        is_watch_time = torch.tensor([task.kind == "watch_time" for task in schema.tasks])
        weights = torch.tensor([task.weight for task in schema.tasks])
        self.register_buffer("is_watch_time", is_watch_time, persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of inputs and `labels` (batch, tasks), and each task's part."""
        labels = batch["labels"]
        is_known = ~labels.isnan()
        outputs = self.ranker(batch).float()
        errors = self._errors(outputs, labels.nan_to_num())
        losses = (errors * is_known).sum(0) / is_known.sum(0).clamp(min=1)
        parts = dict(zip(self.names, losses.detach().unbind(), strict=True))
        return (losses * self.weights).sum(), parts

    def _errors(self, outputs: Tensor, labels: Tensor) -> Tensor:
        is_positive = torch.where(self.is_watch_time, 0.0, labels)
        cross_entropy = nn.functional.binary_cross_entropy_with_logits(
            outputs, is_positive, reduction="none"
        )
        squared = (outputs - torch.log1p(labels.clamp(min=0))).square() / 2
        return torch.where(self.is_watch_time, squared, cross_entropy)
