"""The assembly of Ray Train's TorchTrainer: settings in, a finished training out."""

from collections.abc import Callable

import ray
import ray.train
import ray.train.torch

from cluster.errors import ConfigError
from cluster.session import WORKER_ENVIRONMENT
from train.board import relayed
from train.checkpoints import Checkpoints
from train.config import TrainConfig
from train.progress import Listener
from train.runtime import Runtime
from train.worker import Work, work
from train.wrong_input import WrongInputEndsTheRun

RAYS_NOTE = "checkpoint_manager_snapshot.json"
"""Ray Train's own list of checkpoints; it refuses a run where one of them is gone or the list is
torn. What is there and intact is looked up in the folder itself."""


def train_on_ray(
    train: Callable[[Runtime], None],
    checkpoints: Checkpoints,
    config: TrainConfig,
    listener: Listener,
) -> None:
    """Run a training on Ray Train's workers; a lost worker resumes from the last checkpoint.

    Args:
        train: what every worker runs; picklable.
        checkpoints: of the run; the same folder resumes.
        config: number and size of the workers.
        listener: hears of the progress in this process.

    Raises:
        ray.train.TrainingFailedError: more workers were lost than `max_failures`, or one met an
            `InputError`; it holds the workers' errors.
    """
    checkpoints.forget_note(RAYS_NOTE)
    cpus = worker_cpus(config, ray.cluster_resources())
    with relayed(listener) as worker_listener:
        trainer = ray.train.torch.TorchTrainer(
            work,
            train_loop_config=Work(
                train=train, checkpoints=checkpoints, listener=worker_listener, threads=cpus
            ),
            torch_config=ray.train.torch.TorchConfig(backend="nccl" if config.use_gpu else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=config.num_workers,
                use_gpu=config.use_gpu,
                resources_per_worker={"CPU": cpus, **({"GPU": 1} if config.use_gpu else {})},
            ),
            run_config=_run_config(checkpoints, config),
        )
        trainer.fit()


def worker_cpus(config: TrainConfig, resources: dict[str, float]) -> int:
    """Return the cores of one worker: as configured, or an equal share of the cluster's.

    Raises:
        ConfigError: there are more workers than cores or GPUs, and Ray would wait for more.
    """
    if config.cpus_per_worker is not None:
        return config.cpus_per_worker
    for kind in ("CPU", "GPU") if config.use_gpu else ("CPU",):
        if config.num_workers > resources.get(kind, 0.0):
            raise ConfigError(
                f"train.num_workers: {config.num_workers}, but the cluster's {kind} count is "
                f"{resources.get(kind, 0.0):g}; if it grows by itself, set train.cpus_per_worker"
            )
    return int(resources["CPU"] // config.num_workers)


def _run_config(checkpoints: Checkpoints, config: TrainConfig) -> ray.train.RunConfig:
    storage_path, _, name = checkpoints.path.rpartition("/")
    return ray.train.RunConfig(
        name=name,
        storage_path=storage_path,
        storage_filesystem=checkpoints.filesystem,
        failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
        callbacks=[WrongInputEndsTheRun()],
        worker_runtime_env={"env_vars": WORKER_ENVIRONMENT},
        logging_config=ray.train.LoggingConfig(log_level="ERROR"),
    )
