"""Task heads: point-in-time rates straight to the output, and what the network adds to them."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from features.schema import RateEntity, Schema
from models.calibration import Calibration
from models.watch_time.choice import OBJECTIVES, WatchTimeName
from models.watch_time.objective import WatchTimeObjective

PACE = 3.0
"""Rates are few and strong: their weights go further in a step than the network's."""


class TaskHeads(nn.Module):
    """Outputs per task: base rate + weighted rates + a linear map of the task's features.

    Binary tasks have one output, a logit; watch times those of their objective. At the start the
    network's part is 0 and the rates of user, item and context entities weigh 1: the untrained
    ranker is the floor.

    Args:
        schema: gives tasks, base rates and rate entities.
        width: of the features that each task gets.
        watch_time: how watch times are predicted.
    """

    tasks: Tensor

    def __init__(self, schema: Schema, width: int, watch_time: WatchTimeName = "log") -> None:
        super().__init__()
        self.watch_times = nn.ModuleDict(
            {
                str(k): OBJECTIVES[watch_time](schema.base_rates[k])
                for k, task in enumerate(schema.tasks)
                if task.kind == "watch_time"
            }
        )
        num_tasks = range(len(schema.tasks))
        self.sizes = [cast(int, getattr(self._objective(k), "num_outputs", 1)) for k in num_tasks]
        tasks = [k for k in num_tasks for _ in range(self.sizes[k])]
        self.register_buffer("tasks", torch.tensor(tasks), persistent=False)
        self.user_rates = RateSum(schema, user_side_entities(schema), tasks)
        self.item_rates = RateSum(schema, schema.entities_of("item"), tasks)
        self.weight = nn.Parameter(torch.zeros(len(tasks), width))
        self.calibration = Calibration(len(schema.tasks))
        self.logits = [_logit(rate) for rate in schema.base_rates]
        self.bias = nn.Parameter(self._base_outputs())

    def fit(self, labels: Tensor, lengths: Tensor) -> None:
        """Let the watch times' objectives see the training split.

        Args:
            labels: (n, tasks), NaN where missing.
            lengths: the items' durations on the models' scale, (n,).
        """
        for key, objective in self.watch_times.items():
            seconds = labels[:, int(key)]
            is_known = ~seconds.isnan()
            cast(WatchTimeObjective, objective).fit(seconds[is_known], lengths[is_known])
        with torch.no_grad():
            self.bias.copy_(self._base_outputs())

    def forward(self, features: Tensor, user: Tensor, item_rates: Tensor) -> Tensor:
        """Return outputs (batch, n, outputs).

        Args:
            features: (batch, n, tasks, width).
            user: what `user_rates` summed, (batch, outputs).
            item_rates: (batch, n, rates).
        """
        if len(self.tasks) > len(self.sizes):
            features = features.index_select(-2, self.tasks)
        learned = (features * self.weight).sum(-1)
        outputs: Tensor = learned + self.bias + user.unsqueeze(1) + self.item_rates(item_rates)
        return outputs

    def predictions(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Turn outputs (..., outputs) into probabilities and seconds (..., tasks).

        `lengths` (...) are the items' durations.
        """
        parts = []
        for k, part in enumerate(torch.split(outputs, self.sizes, dim=-1)):
            objective = self._objective(k)
            if objective is None:
                parts.append(self.calibration(part.squeeze(-1), k))
            else:
                parts.append(objective.seconds(part, lengths))
        return torch.stack(parts, dim=-1)

    def errors(self, outputs: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Return every task's loss of every impression (batch, tasks).

        Args:
            outputs: (batch, outputs).
            labels: (batch, tasks), without NaN.
            lengths: the items' durations, (batch,).
        """
        parts = []
        for k, part in enumerate(torch.split(outputs, self.sizes, dim=-1)):
            objective = self._objective(k)
            if objective is None:
                errors = nn.functional.binary_cross_entropy_with_logits(
                    part.squeeze(-1), labels[:, k], reduction="none"
                )
            else:
                errors = objective.errors(part, labels[:, k], lengths)
            parts.append(errors)
        return torch.stack(parts, dim=-1)

    def calibrate(self, predicted: Tensor, labels: Tensor) -> None:
        """Let probabilities (n, tasks) mean what labels (n, tasks), NaN where missing, say."""
        for k in range(len(self.sizes)):
            is_known = ~labels[:, k].isnan()
            if self._objective(k) is None and is_known.any():
                logits = torch.logit(predicted[is_known, k].double(), eps=1e-7)
                shown = (logits - self.calibration.shift[k]) / self.calibration.scale[k]
                self.calibration.fit(shown, labels[is_known, k], k)

    def _objective(self, task: int) -> WatchTimeObjective | None:
        key = str(task)
        return cast(WatchTimeObjective, self.watch_times[key]) if key in self.watch_times else None

    def _base_outputs(self) -> Tensor:
        """Return the outputs with which every task predicts its base rate."""
        parts = []
        for k, logit in enumerate(self.logits):
            objective = self._objective(k)
            parts.append(torch.tensor([logit]) if objective is None else objective.initial())
        return torch.cat(parts).float()


class RateSum(nn.Module):
    """A weighted sum of the smoothed rates of some entities, per output.

    Args:
        schema: gives the tasks.
        entities: in the order of the rate features.
        tasks: the task of every output.
    """

    columns: Tensor
    initial: Tensor

    def __init__(
        self, schema: Schema, entities: Sequence[RateEntity], tasks: Sequence[int]
    ) -> None:
        super().__init__()
        self.shape = (len(entities), 1 + len(schema.tasks))
        initial = torch.tensor([float(is_floor(entity)) for entity in entities])
        self.register_buffer("initial", initial.unsqueeze(1), persistent=False)
        self.change = nn.Parameter(torch.zeros(len(entities), len(tasks)))
        self.register_buffer("columns", torch.tensor(tasks) + 1, persistent=False)

    def forward(self, rates: Tensor) -> Tensor:
        """Sum rate features (..., entities * (1 + tasks)): (..., outputs)."""
        by_entity = rates.reshape(*rates.shape[:-1], *self.shape).index_select(-1, self.columns)
        return (by_entity * (self.initial + PACE * self.change)).sum(-2)


def user_side_entities(schema: Schema) -> tuple[RateEntity, ...]:
    """Return the entities of `user_rates`, in order."""
    return schema.entities_of("user") + schema.entities_of("context")


def is_floor(entity: RateEntity) -> bool:
    """Tell whether an entity belongs to the rate-logit floor: user, item or a context column."""
    return entity.feature is None or entity.owner == "context"


def _logit(rate: float) -> float:
    rate = min(max(rate, 1e-4), 1 - 1e-4)
    return math.log(rate / (1 - rate))
