"""`[serve]`: the service's topology, its request budget and what makes a slate."""

from typing import Literal

import torch
from pydantic import Field, model_validator

from cluster.config import Duration, Section
from retrieval.config import RetrievalSettings
from serve.caches.config import CacheConfig
from serve.ladder import OverloadConfig
from serve.logs import LogConfig
from serve.runtime import RuntimeConfig, device_of
from serve.scaling import ScalingConfig
from serve.topology import Layout, StageDeployment, custom, fused, split
from serve.tracing import TraceConfig
from serve.versions.config import RolloutConfig


class StoreConfig(Section):
    """`[serve.store]`: the online feature store."""

    max_positives: int = Field(default=2_000, ge=1, le=100_000)
    """Items kept of a user's positive history; older ones may be recommended again."""
    sync_interval: Duration = Field(default=1_000, ge=0)
    """Writes reach the disk at least this often while there are any; 0 syncs every write."""


class RerankConfig(Section):
    """`[serve.rerank]`: how the slate is chosen among the ranked candidates."""

    diversity: float = Field(default=0.1, ge=0, le=1)
    """Weight of being unlike what is shown already, against value; 0 orders by value alone."""
    cap: str | None = None
    """A categorical item attribute, such as the creator, of which no value may fill a slate."""
    max_per_value: int = Field(default=3, ge=1)
    """Items of one slate that share a value of `cap`; more only when nothing else is left."""


class ServeConfig(Section):
    """`[serve]`."""

    topology: Literal["fused", "split"] = "fused"
    """One deployment with every stage, or one per stage with scaling of its own."""
    deployments: Layout = ()
    """Any other grouping of the stages, in place of `topology` and `scaling`."""
    clock: Literal["wall", "dataset"] = "wall"
    """What time it is for the models: the present, or the end of the prepared data and on from
    there since the online store was filled (for demos and historic data)."""
    budget: Duration = Field(default=250, ge=1)
    """Time for one answer; what is late is left out and the answer says so."""
    threads: int = Field(default=2, ge=1)
    """Stages that one replica computes at a time, unless its deployment has more cores or says
    otherwise."""
    value: dict[str, float] = {}
    """Weight of each task's prediction in an item's value, of log1p for watch time; empty takes
    the positive task alone."""
    store: StoreConfig = StoreConfig()
    rerank: RerankConfig = RerankConfig()
    scaling: ScalingConfig = ScalingConfig()
    overload: OverloadConfig = OverloadConfig()
    log: LogConfig = LogConfig()
    trace: TraceConfig = TraceConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    cache: CacheConfig = CacheConfig()
    rollout: RolloutConfig = RolloutConfig()

    @model_validator(mode="after")
    def _deployments_stand_alone(self) -> "ServeConfig":
        if self.deployments:
            for key in ("topology", "scaling"):
                if key in self.model_fields_set:
                    raise ValueError(f"{key}: [[serve.deployments]] says it all; set one of them")
            custom(self.deployments)
        return self

    @model_validator(mode="after")
    def _gpu_is_reserved(self) -> "ServeConfig":
        ranking = next(size for size in self.layout if "rank" in size.stages)
        if self.runtime.device == "cuda" and not ranking.num_gpus:
            raise ValueError(
                f"runtime.device = 'cuda': deployment {ranking.name!r} ranks and reserves no GPU; "
                "give it num_gpus"
            )
        return self

    @property
    def layout(self) -> Layout:
        """The deployments and their stages; the gateway is one of them."""
        if self.deployments:
            return custom(self.deployments)
        return fused(self.scaling) if self.topology == "fused" else split(self.scaling)

    def size(self, name: str) -> StageDeployment:
        """Return a deployment of the layout."""
        return next(size for size in self.layout if size.name == name)

    def device(self, name: str) -> torch.device:
        """Return where a deployment's replicas rank: this process is one of them.

        Raises:
            ConfigError: it has to be a GPU, and torch finds none.
        """
        return device_of(self.runtime, self.size(name).num_gpus)

    def sized(self, name: str) -> "ServeConfig":
        """Return what a deployment's replicas read: `threads` is their own."""
        size = self.size(name)
        threads = size.threads or max(self.threads, int(size.num_cpus))
        return self.model_copy(update={"threads": threads})

    @property
    def objective(self) -> int:
        """The latency that answers are to keep, in milliseconds."""
        return self.overload.objective or self.budget

    @property
    def layout_name(self) -> str:
        """Say "fused", "split" or "custom"."""
        return "custom" if self.deployments else self.topology


class ServeSettings(RetrievalSettings):
    """What `python -m serve` reads."""

    serve: ServeConfig = ServeConfig()

    def sized(self, name: str) -> "ServeSettings":
        """Return what a deployment's replicas read."""
        return self.model_copy(update={"serve": self.serve.sized(name)})

    @model_validator(mode="after")
    def _values_are_tasks(self) -> "ServeSettings":
        names = [task.name for task in self.tasks]
        for name in self.serve.value:
            if name not in names:
                raise ValueError(f"serve.value: no task {name!r}; tasks: {', '.join(names)}")
        return self
