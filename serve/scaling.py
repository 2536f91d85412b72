"""`[serve.scaling.<deployment>]`: replicas, autoscaling and hardware of each deployment."""

from pydantic import Field, model_validator

from cluster.config import Section
from serve.autoscaling import Limits


class DeploymentConfig(Section):
    """One deployment's size; `num_cpus` and `num_gpus` are what Ray reserves for each replica."""

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    """Above `min_replicas`, the number of replicas follows the load: see `serve.autoscaling`."""
    spare_replicas: int = Field(default=1, ge=0)
    """Replicas beyond those that the load needs, kept warm for the next spike."""
    target_utilization: float = Field(default=0.6, gt=0, le=1)
    """Share of its capacity that a replica is to use, where it can tell."""
    target_ongoing_requests: float = Field(default=4.0, gt=0)
    """Requests in flight that a replica is to have, where it cannot."""
    upscale_delay_s: float = Field(default=1.0, ge=0)
    """More replicas are started when they have been needed for so long."""
    downscale_delay_s: float = Field(default=60.0, ge=0)
    """Replicas are ended, a few at a time, when they have not been needed for so long."""
    look_back_period_s: float = Field(default=1.0, gt=0.2)
    """Time over which requests in flight are averaged."""
    max_ongoing_requests: int = Field(default=32, ge=1)
    """Requests that one replica works on at a time."""
    max_queued_requests: int = Field(default=64, ge=0)
    """Requests that wait besides, before the gateway refuses with 429."""
    max_surge_percent: int = Field(default=25, ge=0, le=100)
    """Replicas that an update may add, of a new version, before it ends old ones; at least one,
    which needs room. 0 ends an old one first."""
    drain_timeout_s: float = Field(default=20.0, ge=0)
    """Time for a replica that is to end to answer what it has begun."""
    threads: int | None = Field(default=None, ge=1)
    """Stages that one replica computes at a time; None takes one for each of its cores, and no
    fewer than `[serve] threads`."""
    num_cpus: float = Field(default=1.0, ge=0)
    num_gpus: float = Field(default=0.0, ge=0)

    @model_validator(mode="after")
    def _bounds_fit(self) -> "DeploymentConfig":
        if self.max_replicas < self.min_replicas:
            raise ValueError(
                f"max_replicas {self.max_replicas} is below min_replicas {self.min_replicas}"
            )
        return self

    @property
    def max_in_flight(self) -> int:
        """Requests that the gateway lets in at a time."""
        return self.max_ongoing_requests + self.max_queued_requests

    @property
    def limits(self) -> Limits:
        """What autoscaling keeps to."""
        return Limits(
            target_ongoing=self.target_ongoing_requests,
            target_utilization=self.target_utilization,
            spare=self.spare_replicas,
            up_delay_s=self.upscale_delay_s,
            down_delay_s=self.downscale_delay_s,
        )

    @property
    def is_autoscaled(self) -> bool:
        """Whether the number of replicas follows the load."""
        return self.max_replicas > self.min_replicas


class ScalingConfig(Section):
    """`[serve.scaling]`: "fused" has a gateway only, "split" all four.

    The defaults let either topology start on a machine with two cores.
    """

    gateway: DeploymentConfig | None = None
    """None reserves one CPU when it holds every stage, a fifth when the stages are elsewhere."""
    retriever: DeploymentConfig = DeploymentConfig(num_cpus=0.5)
    ranker: DeploymentConfig = DeploymentConfig()
    reranker: DeploymentConfig = DeploymentConfig(num_cpus=0.2)
