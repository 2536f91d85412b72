"""The two-tower retrieval model: a user's history and an item's attributes as unit vectors."""

import math

import torch
from torch import Tensor, nn

from features.assembly import GAP_ROWS
from features.schema import Schema
from models.config import MIN_TEMPERATURE, TwoTowerConfig
from models.dropout import Dropout
from models.embedding import EmbeddingTable, FeatureEmbedding
from models.history_encoder import HistoryEncoder

USER_TOWER_INPUTS = (
    "user_codes",
    "user_multi",
    "user_numbers",
    "context_codes",
    "context_numbers",
    "history_codes",
    "history_multi",
    "history_numbers",
    "history_gaps",
    "history_steps",
)
ITEM_TOWER_INPUTS = ("item_codes", "item_multi", "item_numbers")

ITEM_ID = "item_id"

Inputs = dict[str, Tensor]


class ItemEncoder(nn.Module):
    """An item's id and attributes as one vector; the same for candidates and histories.

    Args:
        schema: the item's features; the one named "item_id" gets a vector of the full width.
        config: widths and dropouts.
    """

    def __init__(self, schema: Schema, config: TwoTowerConfig) -> None:
        super().__init__()
        names = [feature.name for feature in schema.select("item", "categorical")]
        self.id_column = names.index(ITEM_ID) if ITEM_ID in names else None
        self.id_dropout = config.id_dropout
        if self.id_column is not None:
            rows = schema.select("item", "categorical")[self.id_column].rows
            self.ids = EmbeddingTable(rows, config.dim)
        self.has_attributes = config.item_attributes or self.id_column is None
        if self.has_attributes:
            self.attributes = FeatureEmbedding(_without_id(schema), "item", config.attribute_dim)
            self.project = Projection(self.attributes.width, config.dim)

    def forward(self, codes: Tensor, multi: Tensor, numbers: Tensor) -> Tensor:
        """Encode codes (..., c), multi (..., m, values), numbers (..., k): (..., dim)."""
        if self.id_column is None:
            projected: Tensor = self.project(self.attributes(codes, multi, numbers))
            return projected
        before, ids, after = codes.tensor_split((self.id_column, self.id_column + 1), dim=-1)
        known = self.ids.rows(self._dropped(ids.squeeze(-1)))
        if not self.has_attributes:
            return known
        others = torch.cat([before, after], dim=-1)
        encoded: Tensor = known + self.project(self.attributes(others, multi, numbers))
        return encoded

    def _dropped(self, ids: Tensor) -> Tensor:
        if not self.training or not self.id_dropout:
            return ids
        return ids * (torch.rand(ids.shape, device=ids.device) >= self.id_dropout)


class TwoTower(nn.Module):
    """User and item tower over one item encoder.

    The user tower reads the history in one causal pass and joins the user's attributes and the
    request's context at its output; so one pass over a timeline gives the user's vector before
    each of its events, equal to what a request with that history gets.
    """

    def __init__(self, schema: Schema, config: TwoTowerConfig) -> None:
        super().__init__()
        self.items = ItemEncoder(schema, config)
        self.steps = EmbeddingTable(GAP_ROWS, config.dim) if config.time_gaps else None
        self.history = HistoryEncoder(
            config.encoder,
            config.dim,
            layers=config.layers,
            heads=config.heads,
            dropout=config.dropout,
            length=schema.history_length,
        )
        self.user = FeatureEmbedding(schema, "user", config.attribute_dim)
        self.context = FeatureEmbedding(
            schema, "context", config.attribute_dim, value_dropout=config.context_dropout
        )
        self.join = Join(config.dim, self.user.width + self.context.width, config.dropout)
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))

    @property
    def scale(self) -> Tensor:
        """One over the temperature."""
        return self.log_scale.exp().clamp(max=1.0 / MIN_TEMPERATURE)

    def item_vectors(self, encoded: Tensor) -> Tensor:
        """Turn the item encoder's output (..., dim) into unit vectors (..., dim)."""
        return nn.functional.normalize(encoded.float(), dim=-1)

    def states(self, encoded_history: Tensor, steps: Tensor) -> Tensor:
        """Read histories (batch, events, dim) with steps (batch, events).

        Returns:
            The states (batch, events + 1, dim); state k has seen k events.
        """
        if self.steps is not None:
            encoded_history = encoded_history + self.steps.rows(steps)
        states: Tensor = self.history(encoded_history)
        return states

    def user_vectors(self, states: Tensor, users: Tensor, contexts: Tensor) -> Tensor:
        """Join states (..., dim) with embedded users and contexts (..., width): unit vectors."""
        joined: Tensor = self.join(states, torch.cat([users, contexts], dim=-1))
        return nn.functional.normalize(joined.float(), dim=-1)

    def embed_users(self, inputs: Inputs) -> Tensor:
        """Embed user attributes."""
        embedded: Tensor = self.user(
            inputs["user_codes"], inputs["user_multi"], inputs["user_numbers"]
        )
        return embedded

    def embed_contexts(self, inputs: Inputs) -> Tensor:
        """Embed request contexts."""
        embedded: Tensor = self.context(inputs["context_codes"], None, inputs["context_numbers"])
        return embedded


class Join(nn.Module):
    """Adds what user attributes and context say to the state of the history."""

    def __init__(self, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.project = Projection(width, dim)
        self.norm = nn.LayerNorm(dim)
        self.hidden = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(2 * dim, dim)
        self.dropout = Dropout(dropout)

    def forward(self, states: Tensor, features: Tensor) -> Tensor:
        """Join states (..., dim) and features (..., width): (..., dim)."""
        x = states + self.project(features)
        joined: Tensor = x + self.out(self.dropout(torch.relu(self.hidden(self.norm(x)))))
        return joined


class UserTower(nn.Module):
    """The user tower as it is exported: one request per row."""

    def __init__(self, model: TwoTower) -> None:
        super().__init__()
        self.model = model

    def forward(self, user: Inputs) -> Tensor:
        """Map the assembler's user inputs (batch, ...) to unit vectors (batch, dim)."""
        model = self.model
        history = model.items(user["history_codes"], user["history_multi"], user["history_numbers"])
        states = model.states(history, user["history_steps"])
        num_events = (user["history_gaps"] > 0).sum(1)
        index = num_events[:, None, None].expand(-1, 1, states.shape[-1])
        state = states.gather(1, index).squeeze(1)
        return model.user_vectors(state, model.embed_users(user), model.embed_contexts(user))


class ItemTower(nn.Module):
    """The item tower as it is exported."""

    def __init__(self, model: TwoTower) -> None:
        super().__init__()
        self.model = model

    def forward(self, items: Inputs) -> Tensor:
        """Map the assembler's static item inputs (n, ...) to unit vectors (n, dim)."""
        encoded = self.model.items(items["item_codes"], items["item_multi"], items["item_numbers"])
        return self.model.item_vectors(encoded)


class Projection(nn.Module):
    """A linear layer that gives zeros for an owner without features."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.linear = nn.Linear(width, dim) if width else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., width) to (..., dim)."""
        if self.linear is None:
            return x.new_zeros((*x.shape[:-1], self.dim))
        projected: Tensor = self.linear(x)
        return projected


def _without_id(schema: Schema) -> Schema:
    features = tuple(f for f in schema.features if (f.owner, f.name) != ("item", ITEM_ID))
    return schema.model_copy(update={"features": features})
