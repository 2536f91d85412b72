"""Carries out a sweep: on a Ray cluster, joined or started for it."""

import time
import warnings

import ray

from cluster.config import ClusterConfig
from cluster.session import WORKER_ENVIRONMENT, session
from cluster.tracking import prepare_mlflow
from tune.outcome import Outcome
from tune.result import Manifest, publish
from tune.room import Room
from tune.sweep import Sweep
from tune.trial import is_own_process
from tune.tuner import tuner


def carry_out(sweep: Sweep) -> Manifest:
    """Run the trials, publish what came of them and drop their state.

    Raises:
        ConfigError: the cluster has no room for the trials that were asked for.
        InputError: no trial came to a figure.
    """
    started = time.monotonic()
    prepare_mlflow()
    with session(_cluster(sweep), WORKER_ENVIRONMENT), warnings.catch_warnings():
        # A trial that goes on tells its last epoch again.
        warnings.filterwarnings("ignore", "The reported value is ignored", UserWarning)
        train = sweep.settings.train
        room = Room.of(train, sweep.config.concurrent_trials, ray.cluster_resources())
        results = tuner(sweep, room).fit()
    outcomes = [Outcome.of_result(sweep, n, result) for n, result in enumerate(results, 1)]
    manifest = publish(sweep, [o for o in outcomes if o.drawn], time.monotonic() - started)
    sweep.forget_runs()
    return manifest


def _cluster(sweep: Sweep) -> ClusterConfig:
    """Turn Ray's dashboard on for trials with workers.

    Without it nobody gives back the places of workers whose trial was stopped.
    """
    is_needed = not is_own_process(sweep.settings.train.num_workers)
    dashboard = sweep.settings.cluster.dashboard or is_needed
    return sweep.settings.cluster.model_copy(update={"dashboard": dashboard})
