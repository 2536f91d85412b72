"""`[models]`: the shapes of the two-tower model and of the ranker."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from cluster.config import Section
from models.watch_time.choice import WatchTimeName

MIN_TEMPERATURE = 0.025

EncoderName = Literal["mean", "transformer", "hstu"]


class TwoTowerConfig(Section):
    """`[models.two_tower]`."""

    dim: int = Field(default=64, ge=4)
    """Width of the user tower and of both towers' vectors."""
    attribute_dim: int = Field(default=16, ge=1)
    """Width of one attribute's embedding; item ids have the full width."""
    encoder: EncoderName = "transformer"
    """How the user tower reads a history: gated causal transformer, HSTU's pointwise attention, or
    the plain mean of its events."""
    layers: int = Field(default=2, ge=1)
    """Blocks of the encoder; the mean has none."""
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    id_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of items whose id a training step hides, so that attributes alone place new items."""
    item_attributes: bool = True
    """Whether attributes place an item beside its id; without them new items have no place. Where
    there are no ids, attributes alone do."""
    time_gaps: bool = True
    """Whether the history's events carry the time that passed after them."""
    context_dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of context values that training replaces by "unknown"."""
    temperature: float = Field(default=0.05, ge=MIN_TEMPERATURE)
    """Where the learned temperature starts."""

    @model_validator(mode="after")
    def _heads_fit(self) -> "TwoTowerConfig":
        if self.dim % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide dim = {self.dim}")
        return self


class RankerConfig(Section):
    """`[models.ranker]`."""

    embedding_dim: int = Field(default=16, ge=1)
    value_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Share of feature values that training replaces by "unknown"."""
    number_dim: int = Field(default=16, ge=0)
    """Width of the vector that a number or rate gets beside itself."""
    width: int = Field(default=64, ge=1)
    """Size of the projected user and of the projected item."""
    cross_layers: int = Field(default=2, ge=0)
    cross_rank: int = Field(default=64, ge=1)
    experts: int = Field(default=1, ge=1)
    """That all tasks share; with "ple" each task has as many of its own beside them."""
    expert_dims: tuple[PositiveInt, ...] = Field(default=(128, 64), min_length=1)
    mixture: Literal["shared", "mmoe", "ple"] = "ple"
    attention_dim: int = Field(default=32, ge=1)
    history_matches: bool = True
    """Whether it is told how much of the history shares each of a candidate's values."""
    watch_time: WatchTimeName = "thresholds"
    """How watch times are predicted: models/watch_time/."""
    dropout: float = Field(default=0.1, ge=0, lt=1)


class ModelsConfig(Section):
    """`[models]`."""

    two_tower: TwoTowerConfig = TwoTowerConfig()
    ranker: RankerConfig = RankerConfig()
