"""How many trials the cluster has room for, and what each of them gets."""

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.errors import ConfigError
from train.config import TrainConfig


@dataclass(frozen=True)
class Room:
    """What a trial takes.

    Attributes:
        cpus: cores of each of its workers.
        concurrent: trials at a time.
    """

    cpus: int
    concurrent: int

    @classmethod
    def of(
        cls, train: TrainConfig, concurrent: int | None, resources: Mapping[str, float]
    ) -> "Room":
        """Share out a cluster.

        Args:
            train: workers of a trial and their size.
            concurrent: trials at a time; None takes as many as there is room for.
            resources: of the whole cluster.

        Raises:
            ConfigError: not even one trial has room.
        """
        workers = max(train.num_workers, 1)
        total, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
        shares = workers * (concurrent or 1)
        default = max(1, total // shares) if concurrent else 1
        cpus = train.cpus_per_worker or default
        fitting = total // (workers * cpus)
        if train.use_gpu:
            fitting = min(fitting, gpus // workers)
        if fitting < (concurrent or 1):
            raise ConfigError(
                f"tune.concurrent_trials: {concurrent or 1} of {workers} workers with {cpus} CPU"
                f"{' and a GPU' if train.use_gpu else ''} each do not fit into the cluster's "
                f"{total} CPU{f' and {gpus} GPU' if train.use_gpu else ''}"
            )
        return cls(cpus, concurrent or fitting)
