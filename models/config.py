"""`[models]`: the shapes of the two-tower model and of the ranker."""

from typing import Literal

from pydantic import Field

from cluster.config import Section


class TwoTowerConfig(Section):
    """`[models.two_tower]`."""

    dim: int = Field(default=64, ge=4)
    layers: int = Field(default=2, ge=0)
    """Transformer blocks of the user tower; 0 pools the history's mean."""
    heads: int = Field(default=4, ge=1)
    dropout: float = Field(default=0.2, ge=0, lt=1)
    temperature: float = Field(default=0.05, gt=0)


class RankerConfig(Section):
    """`[models.ranker]`."""

    embedding_dim: int = Field(default=16, ge=1)
    cross_layers: int = Field(default=2, ge=0)
    cross_rank: int = Field(default=64, ge=1)
    experts: int = Field(default=3, ge=1)
    expert_dims: tuple[int, ...] = (128, 64)
    mixture: Literal["shared", "mmoe", "ple"] = "mmoe"
    attention_dim: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)


class ModelsConfig(Section):
    """`[models]`."""

    two_tower: TwoTowerConfig = TwoTowerConfig()
    ranker: RankerConfig = RankerConfig()
