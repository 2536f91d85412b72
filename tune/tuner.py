"""The assembly of Ray Tune's Tuner: a sweep in, a tuner out, fresh or going on."""

from typing import Any

import ray.tune

from train.config import TrainConfig
from tune.resumption import can_go_on
from tune.room import Room
from tune.schedulers import initial, scheduler
from tune.search import searcher
from tune.sweep import Sweep
from tune.trial import SCORE, is_own_process, trainable
from tune.watchers import Watching

UNLIMITED = -1
EXPERIMENT = "experiment"


def tuner(sweep: Sweep, room: Room) -> ray.tune.Tuner:
    """Build the tuner of a sweep; one that was interrupted goes on where it was killed.

    Args:
        sweep: to carry out.
        room: what each trial gets, and how many run at a time.
    """
    experiment = sweep.checkpoints(EXPERIMENT)
    storage_path, _, name = experiment.path.rpartition("/")
    train = sweep.settings.train
    work = ray.tune.with_resources(trainable(sweep, room.cpus), _resources(train, room))
    if can_go_on(experiment):
        return ray.tune.Tuner.restore(
            experiment.path,
            work,
            resume_errored=True,
            storage_filesystem=experiment.filesystem,
        )
    return ray.tune.Tuner(
        work,
        param_space=initial(sweep.config, sweep.space),
        tune_config=_tune_config(sweep, room),
        run_config=ray.tune.RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=experiment.filesystem,
            callbacks=[Watching(sweep)],
            failure_config=ray.tune.FailureConfig(max_failures=train.max_failures),
            verbose=0,
        ),
    )


def _tune_config(sweep: Sweep, room: Room) -> ray.tune.TuneConfig:
    config = sweep.config
    minutes = config.max_minutes
    return ray.tune.TuneConfig(
        metric=SCORE,
        mode="max",
        search_alg=searcher(config, sweep.space, room.concurrent),
        scheduler=scheduler(config, sweep.space, sweep.epochs),
        num_samples=config.num_trials or UNLIMITED,
        time_budget_s=None if minutes is None else minutes * 60,
        # Processes are what a small trial costs most; workers of Ray Train are started anyway.
        reuse_actors=is_own_process(sweep.settings.train.num_workers),
    )


def _resources(train: TrainConfig, room: Room) -> dict[str, Any]:
    """Return what Ray Tune sets aside; Ray Train's workers ask for their own."""
    if not is_own_process(train.num_workers):
        return {"CPU": 0, "memory": 1}  # Ray Tune refuses to set nothing aside
    return {"CPU": room.cpus, **({"GPU": 1} if train.use_gpu else {})}
