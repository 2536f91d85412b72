"""The ranker's loss: every task's error on the impressions that have its label."""

import math

import torch
from torch import Tensor, nn

from features.schema import Schema
from models.ranker import Ranker


class RankerLoss(nn.Module):
    """Sums the tasks' mean losses by their weights; missing labels (NaN) do not count.

    A binary task's loss is the cross-entropy. A watch time of w seconds counts as w positives and
    one negative, so that the odds exp(z) tend to the expected time (Covington et al., weighted
    logistic regression, 2016); its loss is scaled to the typical time.

    Args:
        ranker: the model that is trained.
        schema: gives tasks, weights and base rates.
    """

    weights: Tensor
    scales: Tensor
    is_watch_time: Tensor

    def __init__(self, ranker: Ranker, schema: Schema) -> None:
        super().__init__()
        self.ranker = ranker
        self.names = tuple(task.name for task in schema.tasks)
        is_watch_time = torch.tensor([task.kind == "watch_time" for task in schema.tasks])
        scales = torch.tensor([math.exp(rate) for rate in schema.base_rates])
        weights = torch.tensor([task.weight for task in schema.tasks])
        self.register_buffer("is_watch_time", is_watch_time, persistent=False)
        self.register_buffer("scales", torch.where(is_watch_time, scales, 1.0), persistent=False)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss of inputs and `labels` (batch, tasks), and each task's part."""
        labels = batch["labels"]
        is_known = ~labels.isnan()
        logits = self.ranker(batch).float()
        positives = labels.nan_to_num()
        negatives = torch.where(self.is_watch_time, torch.ones_like(positives), 1 - positives)
        softplus = nn.functional.softplus
        errors = positives * softplus(-logits) + negatives * softplus(logits)
        losses = (errors / self.scales * is_known).sum(0) / is_known.sum(0).clamp(min=1)
        parts = dict(zip(self.names, losses.detach().unbind(), strict=True))
        return (losses * self.weights).sum(), parts
