"""The section `[train]`: what is trained, on how many workers, for how long."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from cluster.config import Duration, Section
from features.config import FeatureSettings
from models.config import ModelsConfig
from models.tables.optimizer import Learning, OptimizerName
from models.tables.placement import DEFAULT, PlacementName
from models.task_weights import TaskWeightsName

ModelName = Literal["retrieval", "ranking"]


def _by_table(value: Any) -> Any:
    if isinstance(value, str):
        return {DEFAULT: value}
    return {DEFAULT: "replicated", **_dotted(value)} if isinstance(value, dict) else value


def _dotted(values: dict[str, Any]) -> dict[str, Any]:
    """Join the keys of nested tables: TOML reads `items.ids = "local"` as one in another."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        nested = _dotted(value) if isinstance(value, dict) else {"": value}
        flat |= {f"{key}.{rest}".removesuffix("."): leaf for rest, leaf in nested.items()}
    return flat


Placements = Annotated[dict[str, PlacementName], BeforeValidator(_by_table)]
"""Where tables are, by the end of their name; "default" for all others."""


class ModelTraining(Section):
    """What the training of every model is told; each model's section adds its own keys."""

    epochs: int = Field(default=10, ge=1)
    batch_size: int | None = Field(default=1024, ge=1)
    """Examples of one worker's step."""
    learning_rate: float = Field(default=1e-3, gt=0)
    warm_up: float = Field(default=0.0, ge=0, lt=1)
    """Share of all planned steps over which the learning rate rises to its value."""
    decay: Literal["none", "cosine"] = "none"
    """How the learning rate goes on: constant, or falling to 0 at the last planned step."""
    weight_decay: float = Field(default=0.0, ge=0)
    embedding_optimizer: OptimizerName = "adamw"
    """Of the embedding tables. `adamw` moves every row at every step, as the dense optimizer does;
    a step of `rowwise_adagrad` costs what it touches: the choice for large tables."""
    embedding_learning_rate: float | None = Field(default=None, gt=0)
    """Of the embedding tables, with the same warm-up and decay; None is `learning_rate`."""
    embedding_weight_decay: float = Field(default=0.0, ge=0)
    """Of the embedding tables; `rowwise_adagrad` lets a row decay when a step touches it."""
    averaging: float = Field(default=0.0, ge=0, lt=1)
    """Share that a running average of the layers' weights keeps at a step; the average is what is
    judged and exported. 0 takes the weights as the last step left them."""
    patience: int = Field(default=2, ge=1)
    """Epochs without a better validation figure after which training stops."""
    min_steps: int = Field(default=0, ge=0)
    """Steps before which `patience` ends nothing: the first ones may show nothing yet."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 runs matrix products in bfloat16 under autocast; weights stay in float32."""
    max_minutes: float | None = Field(default=None, gt=0)
    """Time after which training stops, in the middle of an epoch if need be."""
    checkpoint_minutes: float = Field(default=10.0, gt=0)
    """A checkpoint is written after every epoch, and this often within a long one."""
    seed: int = Field(default=0, ge=0)

    @property
    def embeddings(self) -> Learning:
        """How the embedding tables learn."""
        rate = self.embedding_learning_rate or self.learning_rate
        return Learning(self.embedding_optimizer, rate, self.embedding_weight_decay)


class RetrievalTraining(ModelTraining):
    """`[train.retrieval]`: the two-tower model."""

    batch_size: int | None = Field(default=None, ge=1)
    """Windows of timelines of one worker's step. None is 128; on a log of which an epoch would then
    have under 100 steps, the largest smaller power of two that leaves it so many, but not below
    16: train/batch_size.py."""
    learning_rate: float = Field(default=5e-3, gt=0)
    warm_up: float = Field(default=0.05, ge=0, lt=1)
    decay: Literal["none", "cosine"] = "cosine"
    patience: int = Field(default=4, ge=1)
    optimizer: Literal["adamw", "muon"] = "muon"
    """Of the layers; `muon` turns the history encoder's matrices by orthogonalised momentum, which
    learns from a step what AdamW learns from several; everything else is AdamW's."""
    matrix_learning_rate: float = Field(default=0.02, gt=0)
    """Of those matrices, with the same warm-up and decay as `learning_rate`."""
    full_softmax_items: int = Field(default=20_000, ge=0)
    """Up to so many items the softmax is over all of them; above, over a sample."""
    num_negatives: int = Field(default=4_096, ge=1)
    """Uniform negatives of a sampled step, beside the step's own targets."""
    logq_correction: float = Field(default=1.0, ge=0, le=1)
    """How far popular in-batch negatives are corrected for; 0 holds popularity against items."""
    half_life: Duration | None = None
    """A positive so much older than the newest counts half; None counts all alike."""
    validation_users: int = Field(default=5_000, ge=1)
    """Users that the figures between epochs are computed on."""
    monitor: Literal["ndcg@10", "hit_rate@10", "recall@20", "ndcg@20", "recall@100"] = "ndcg@10"
    """The validation figure that early stopping watches."""


class RankingTraining(ModelTraining):
    """`[train.ranking]`: the ranker."""

    epochs: int = Field(default=30, ge=1)
    """At most; `patience` ends a large log's training sooner."""
    batch_size: int | None = Field(default=None, ge=1)
    """Impressions of one worker's step. None is 1024; on a log of which an epoch would then have
    under 100 steps, the largest smaller power of two that leaves it so many, but not below 64."""
    embedding_learning_rate: float | None = Field(default=None, gt=0)
    """Of the embedding tables. None is `learning_rate`, times 1024 / the batch of all workers where
    None made that smaller: a small log has few steps in which its rows can find their places."""
    min_steps: int = Field(default=2000, ge=0)
    averaging: float = Field(default=0.99, ge=0, lt=1)
    embedding_weight_decay: float = Field(default=0.1, ge=0)
    """Rare values stay near zero."""
    validation_rows: int = Field(default=200_000, ge=1)
    """Validation impressions that early stopping looks at, evenly spaced."""
    calibrate: bool = True
    """Scale and shift the trained logits so that probabilities fit the validation split."""
    loss_weighting: TaskWeightsName = "gradnorm"
    """How the tasks' weights go on in training: models/task_weights.py."""


class TrainConfig(Section):
    """`[train]`."""

    models: tuple[ModelName, ...] = Field(default=("retrieval", "ranking"), min_length=1)
    num_workers: int = Field(default=1, ge=0)
    """Data-parallel Ray Train workers; 0 trains in the command's own process without Ray."""
    cpus_per_worker: int | None = Field(default=None, ge=1)
    """Cores, and so threads, of a worker; None shares out the cluster's."""
    use_gpu: bool = False
    max_failures: int = Field(default=2, ge=0)
    """Lost workers after which training gives up; each time it resumes from a checkpoint."""
    embedding_placement: Placements = Field(default={DEFAULT: "replicated"})
    """Where embedding tables are: each worker's own copy, of which touched rows are exchanged
    (`replicated`); cut into rows over the workers (`row_sharded`); in the one worker (`local`)."""
    retrieval: RetrievalTraining = RetrievalTraining()
    ranking: RankingTraining = RankingTraining()

    @model_validator(mode="after")
    def _placements_fit(self) -> "TrainConfig":
        chosen = set(self.embedding_placement.values())
        if self.num_workers > 1 and "local" in chosen:
            raise ValueError(f"embedding_placement 'local' with num_workers = {self.num_workers}")
        if self.num_workers < 2 and "row_sharded" in chosen:
            raise ValueError(
                f"embedding_placement 'row_sharded' needs two workers, num_workers = "
                f"{self.num_workers}"
            )
        return self


class TrainSettings(FeatureSettings):
    """What `python -m train` reads."""

    models: ModelsConfig = ModelsConfig()
    train: TrainConfig = TrainConfig()
