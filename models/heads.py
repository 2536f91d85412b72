"""Task heads: point-in-time rates straight to the output, and what the network adds to them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from features.schema import RateEntity, Schema

MAX_LOG_SECONDS = 12.0


class TaskHeads(nn.Module):
    """One output per task: base rate + weighted rates + a linear map of the task's features.

    Binary outputs are logits, watch times log1p of seconds. At the start the network's part is 0
    and the rates of user, item and context entities weigh 1: the untrained ranker is the floor.

    Args:
        schema: gives tasks, base rates and rate entities.
        width: of the features that each task gets.
    """

    is_watch_time: Tensor

    def __init__(self, schema: Schema, width: int) -> None:
        super().__init__()
        self.user_rates = RateSum(schema, user_side_entities(schema))
        self.item_rates = RateSum(schema, schema.entities_of("item"))
        self.weight = nn.Parameter(torch.zeros(len(schema.tasks), width))
        self.bias = nn.Parameter(torch.tensor(base_outputs(schema)))
        is_watch_time = torch.tensor([task.kind == "watch_time" for task in schema.tasks])
        self.register_buffer("is_watch_time", is_watch_time, persistent=False)

    def forward(self, features: Tensor, user: Tensor, item_rates: Tensor) -> Tensor:
        """Return outputs (batch, n, tasks).

        Args:
            features: (batch, n, tasks, width).
            user: what `user_rates` summed, (batch, tasks).
            item_rates: (batch, n, rates).
        """
        learned = (features * self.weight).sum(-1)
        outputs: Tensor = learned + self.bias + user.unsqueeze(1) + self.item_rates(item_rates)
        return outputs

    def predictions(self, outputs: Tensor) -> Tensor:
        """Turn outputs (..., tasks) into probabilities and seconds.

        The seconds are the typical time, whose absolute error is small: log times are far less
        skewed than times. Their mean is larger by a factor that hardly depends on the pair.
        """
        seconds = torch.expm1(outputs.clamp(0.0, MAX_LOG_SECONDS))
        return torch.where(self.is_watch_time, seconds, torch.sigmoid(outputs))


class RateSum(nn.Module):
    """A weighted sum of the smoothed rates of some entities, per task.

    Args:
        schema: gives the tasks.
        entities: in the order of the rate features.
    """

    def __init__(self, schema: Schema, entities: Sequence[RateEntity]) -> None:
        super().__init__()
        self.shape = (len(entities), 1 + len(schema.tasks))
        initial = torch.tensor([float(is_floor(entity)) for entity in entities])
        self.weight = nn.Parameter(initial.unsqueeze(1).repeat(1, len(schema.tasks)))

    def forward(self, rates: Tensor) -> Tensor:
        """Sum rate features (..., entities * (1 + tasks)): (..., tasks)."""
        by_entity = rates.reshape(*rates.shape[:-1], *self.shape)[..., 1:]
        return (by_entity * self.weight).sum(-2)


def user_side_entities(schema: Schema) -> tuple[RateEntity, ...]:
    """Return the entities of `user_rates`, in order."""
    return schema.entities_of("user") + schema.entities_of("context")


def is_floor(entity: RateEntity) -> bool:
    """Tell whether an entity belongs to the rate-logit floor: user, item or a context column."""
    return entity.feature is None or entity.owner == "context"


def base_outputs(schema: Schema) -> list[float]:
    """Return the outputs with which every task predicts its base rate."""
    return [
        rate if task.kind == "watch_time" else _logit(rate)
        for task, rate in zip(schema.tasks, schema.base_rates, strict=True)
    ]


def _logit(rate: float) -> float:
    rate = min(max(rate, 1e-4), 1 - 1e-4)
    return math.log(rate / (1 - rate))
