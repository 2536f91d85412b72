"""The multi-task ranker: what each task would say of a user, a context and candidate items."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from features.schema import Schema
from models.config import RankerConfig
from models.cross import CrossNetwork
from models.embedding import FeatureEmbedding
from models.heads import TaskHeads, user_side_entities
from models.matches import HistoryMatches
from models.mixture import ExpertMixture
from models.numbers import NumberEmbedding
from models.target_attention import TargetAttention

USER_INPUTS = (
    "user_codes",
    "user_multi",
    "user_numbers",
    "context_codes",
    "context_numbers",
    "user_rates",
    "history_codes",
    "history_multi",
    "history_numbers",
    "history_gaps",
    "history_steps",
)
ITEM_INPUTS = ("item_codes", "item_multi", "item_numbers", "item_age", "item_rates")
USER_NUMBERS = ("user_numbers", "context_numbers", "user_rates")
ITEM_NUMBERS = ("item_numbers", "item_age", "item_rates")
HISTORY_COLUMNS = ("codes", "multi", "numbers", "gaps", "steps")
HISTORY_VALUES = ("history_codes", "history_multi")
ITEM_VALUES = ("item_codes", "item_multi")
AGE_WIDTH = 2
DURATION = "duration_s"

State = tuple[Tensor, ...]
Inputs = Mapping[str, Tensor]


class Ranker(nn.Module):
    """Target attention, cross network, mixture of experts and a head per task.

    Everything that depends only on the user and the context is computed by `user_side`, once per
    request; `item_side` does the rest for every candidate. Inputs are the assembler's.

    Args:
        config: its shape.
        schema: of the inputs and tasks.
    """

    def __init__(self, config: RankerConfig, schema: Schema) -> None:
        super().__init__()
        dim, share = config.embedding_dim, config.value_dropout
        self.user = FeatureEmbedding(schema, "user", dim, value_dropout=share)
        self.context = FeatureEmbedding(schema, "context", dim)
        self.item = FeatureEmbedding(schema, "item", dim, value_dropout=share)
        rates = 1 + len(schema.tasks)
        user_rates = rates * len(user_side_entities(schema))
        item_rates = rates * len(schema.entities_of("item"))
        attended = config.attention_dim
        self.attention = TargetAttention(self.item.width, attended)
        self.matches = HistoryMatches(schema, is_used=config.history_matches)
        matches = self.matches.width
        width = config.width
        numbers = len(schema.select("user", "numeric")) + len(schema.select("context", "numeric"))
        self.user_numbers = NumberEmbedding(numbers + user_rates, config.number_dim)
        user_width = self.user.width + self.context.width + user_rates + attended
        user_width += self.user_numbers.width
        self.user_projection = _projection(user_width, width, config.dropout)
        numbers = len(schema.select("item", "numeric")) + AGE_WIDTH
        self.item_numbers = NumberEmbedding(numbers + item_rates + matches, config.number_dim)
        item_width = self.item.width + AGE_WIDTH + item_rates + matches + self.item_numbers.width
        self.item_projection = _projection(item_width, width, config.dropout)
        self.cross = CrossNetwork(
            width, width + attended, layers=config.cross_layers, rank=config.cross_rank
        )
        self.mixture = ExpertMixture(
            self.cross.width,
            config.expert_dims,
            experts=config.experts,
            tasks=len(schema.tasks),
            kind=config.mixture,
            dropout=config.dropout,
        )
        self.heads = TaskHeads(schema, config.expert_dims[-1], config.watch_time)
        names = [feature.name for feature in schema.select("item", "numeric")]
        self.duration = names.index(DURATION) if DURATION in names else None

    def user_side(self, inputs: Inputs) -> State:
        """Compute a state from the user inputs (batch, ...)."""
        projected = self._projected([inputs[f"history_{name}"] for name in HISTORY_COLUMNS])
        mask = torch.where(inputs["history_gaps"] > 0, 0.0, -math.inf)
        user = self._user(inputs, self.attention.mean(projected, mask))
        rate_logits = self.heads.user_rates(inputs["user_rates"])
        known = self.matches.sorted([inputs[name] for name in HISTORY_VALUES], mask)
        return user, self.cross.user_side(user), projected, mask, rate_logits, *known

    def item_side(self, state: State, inputs: Inputs) -> Tensor:
        """Return outputs (batch, n, tasks) of item inputs (batch, n, ...)."""
        user, crossed_user, projected, mask, rate_logits, *known = state
        item = self._item(inputs)
        attended = self.attention.item_side(projected, mask, item)
        matches = self.matches.by_candidate(known, mask, [inputs[name] for name in ITEM_VALUES])
        items = self._items(inputs, item, matches, attended)
        features = self.mixture(self.cross.item_side(user, crossed_user, items))
        outputs: Tensor = self.heads(features, rate_logits, inputs["item_rates"])
        return outputs

    def forward(self, inputs: Inputs) -> Tensor:
        """Return outputs (batch, outputs) of pairs: user and item inputs, row by row.

        Equals the two steps, without their work on the histories' padding.
        """
        return self.outputs(self.shared(inputs), inputs)

    def shared(self, inputs: Inputs) -> Tensor:
        """Return what all tasks see of pairs, (batch, width)."""
        is_event = inputs["history_gaps"] > 0
        owners, places = is_event.nonzero(as_tuple=True)
        history = [inputs[f"history_{name}"][owners, places] for name in HISTORY_COLUMNS]
        events = self._projected(history)
        user = self._user(inputs, self.attention.means(events, owners, len(is_event)))
        item = self._item(inputs)
        values = [inputs[name] for name in ITEM_VALUES]
        matches = self.matches.pairs(history[:2], owners, values)
        items = self._items(inputs, item, matches, self.attention.pairs(events, owners, item))
        crossed = self.cross.item_side(user, self.cross.user_side(user), items.unsqueeze(1))
        return crossed.squeeze(1)

    def outputs(self, shared: Tensor, inputs: Inputs) -> Tensor:
        """Return the outputs (batch, outputs) of what `shared` returned."""
        rate_logits = self.heads.user_rates(inputs["user_rates"])
        item_rates = inputs["item_rates"].unsqueeze(1)
        outputs: Tensor = self.heads(self.mixture(shared.unsqueeze(1)), rate_logits, item_rates)
        return outputs.squeeze(1)

    def predict(self, inputs: Inputs) -> Tensor:
        """Return probabilities and seconds (batch, tasks) of pairs."""
        return self.predictions(self(inputs), inputs)

    def predictions(self, outputs: Tensor, inputs: Inputs) -> Tensor:
        """Turn outputs (..., outputs) into probabilities and seconds (..., tasks)."""
        return self.heads.predictions(outputs, self.lengths(inputs["item_numbers"]))

    def lengths(self, item_numbers: Tensor) -> Tensor:
        """Return the items' durations (...), on the scale of the features; 0 where unknown."""
        if self.duration is None:
            return item_numbers.new_zeros(item_numbers.shape[:-1])
        return item_numbers[..., self.duration]

    def _user(self, inputs: Inputs, history: Tensor) -> Tensor:
        parts = [
            self.user(inputs["user_codes"], inputs["user_multi"], inputs["user_numbers"]),
            self.context(inputs["context_codes"], None, inputs["context_numbers"]),
            inputs["user_rates"],
            history,
            self.user_numbers(torch.cat([inputs[name] for name in USER_NUMBERS], dim=-1)),
        ]
        projected: Tensor = self.user_projection(torch.cat(parts, dim=-1))
        return projected

    def _item(self, inputs: Inputs) -> Tensor:
        embedded: Tensor = self.item(
            inputs["item_codes"], inputs["item_multi"], inputs["item_numbers"]
        )
        return embedded

    def _items(self, inputs: Inputs, item: Tensor, matches: Tensor, attended: Tensor) -> Tensor:
        numbers = torch.cat([*(inputs[name] for name in ITEM_NUMBERS), matches], dim=-1)
        parts = [item, inputs["item_age"], inputs["item_rates"], matches]
        parts.append(self.item_numbers(numbers))
        known = torch.cat(parts, dim=-1)
        return torch.cat([self.item_projection(known), attended], dim=-1)

    def _projected(self, history: list[Tensor]) -> Tensor:
        codes, multi, numbers, gaps, steps = history
        return self.attention.project(self.item(codes, multi, numbers), gaps, steps)


class UserProgram(nn.Module):
    """The exported half that runs once per request.

    Args:
        ranker: shared with `ItemsProgram`.
    """

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, inputs: dict[str, Tensor]) -> State:
        """Compute the state of one request, inputs (1, ...)."""
        return self.ranker.user_side(inputs)


class ItemsProgram(nn.Module):
    """The exported half that runs over a request's candidates.

    Args:
        ranker: shared with `UserProgram`.
    """

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, state: State, inputs: dict[str, Tensor]) -> Tensor:
        """Return predictions (n, tasks) of candidates (n, ...) under one request's state."""
        candidates = {name: inputs[name].unsqueeze(0) for name in ITEM_INPUTS}
        outputs = self.ranker.item_side(state, candidates).squeeze(0)
        return self.ranker.predictions(outputs, inputs)


class BatchProgram(nn.Module):
    """Both halves for several requests, which have equally many candidates.

    Args:
        ranker: shared with the halves.
    """

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, users: dict[str, Tensor], items: dict[str, Tensor]) -> Tensor:
        """Return predictions (requests, n, tasks) of candidates (requests, n, ...)."""
        outputs = self.ranker.item_side(self.ranker.user_side(users), items)
        return self.ranker.predictions(outputs, items)


def _projection(width: int, out: int, dropout: float) -> nn.Module:
    return nn.Sequential(nn.Dropout(dropout), nn.Linear(width, out), nn.ReLU())
