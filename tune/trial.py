"""One trial: a training without test figures or export that reports to Ray Tune."""

import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.tune
import torch

from cluster.errors import input_error_in
from cluster.storage import Storage
from features.examples import Examples
from train.batch_size import sized
from train.config import ModelName, TrainSettings
from train.loop import fit
from train.plain import PlainRuntime
from train.progress import Progress
from train.runtime import Runtime
from train.trainees import build_trainee, training_of
from train.trainer import train_on_ray
from tune.inheritance import Origin, inherit
from tune.space import Drawn
from tune.standing import Standing, StandingRuntime
from tune.sweep import Sweep

SCORE = "score"
"""What Ray Tune maximises: the monitored figure with the sweep's sign."""
EPOCH = "epoch"


@dataclass(frozen=True)
class Training:
    """What every worker of a trial runs; picklable."""

    settings: TrainSettings
    model: ModelName
    storage: Storage
    monitor: str

    def __call__(self, runtime: Runtime) -> None:
        """Train; the weights are of no further use."""
        examples = Examples.open(self.storage)
        settings = sized(self.settings, examples)
        trainee = build_trainee(settings, self.model, examples)
        standing = StandingRuntime(runtime, self.monitor)
        position = fit(trainee, training_of(settings, self.model), standing)
        if not standing.has_told:  # a trial that was over already when it was resumed
            standing.tell(position)


class Reporter:
    """A listener that passes standings on to Ray Tune.

    Args:
        sweep: that the trial belongs to.
        trial: whose checkpoints hold the weights.
        drawn: its values.
    """

    def __init__(self, sweep: Sweep, trial: str, drawn: Drawn) -> None:
        self.sweep = sweep
        self.trial = trial
        self.drawn = drawn
        self.history: list[Drawn] = []
        """The values of every epoch; those that came before it took over its weights are not its
        own."""

    def tell(self, progress: Progress) -> None:
        """Report an epoch; Ray Tune may end the trial here."""
        if not isinstance(progress, Standing):
            return
        metrics = {
            SCORE: self.sweep.sign * progress.figure,
            EPOCH: progress.epoch,
            "curve": list(progress.curve),
            "best_epoch": progress.best_epoch,
            "is_over": progress.is_over,
        }
        if self.sweep.config.scheduler == "pbt":
            self._report_to_population(metrics)
        else:
            ray.tune.report(metrics)

    def fail(self, reason: str) -> None:
        """Report that the values lead nowhere: the search learns to avoid them."""
        ray.tune.report({SCORE: -math.inf, EPOCH: 0, "failed": " ".join(reason.split())})

    def _report_to_population(self, metrics: dict[str, Any]) -> None:
        """Report with a pointer to the weights; what is over is not overwritten by a better one."""
        missing = metrics[EPOCH] - len(self.history)
        self.history = [*self.history, *[self.drawn] * missing][: metrics[EPOCH]]
        with tempfile.TemporaryDirectory() as folder:
            Origin(self.trial, self.history).write(Path(folder))
            checkpoint = ray.tune.Checkpoint.from_directory(folder)
            more = {"history": self.history, "done": metrics["is_over"]}
            ray.tune.report({**metrics, **more}, checkpoint=checkpoint)


def trainable(sweep: Sweep, cpus: int) -> Callable[[Drawn], None]:
    """Return the function that Ray Tune calls with what it has drawn.

    Args:
        sweep: that the trials belong to.
        cpus: of a worker, or of the trial itself where it has none.
    """

    def trial(config: Drawn) -> None:
        reporter = Reporter(sweep, ray.tune.get_context().get_trial_id(), config)
        try:
            _train(sweep, cpus, reporter)
        except Exception as error:
            known = input_error_in(error)
            if known is None:
                raise
            reporter.fail(str(known))

    return trial


def _train(sweep: Sweep, cpus: int, reporter: Reporter) -> None:
    settings = sweep.settings_of(reporter.drawn)
    config = settings.train.model_copy(update={"cpus_per_worker": cpus})
    training = Training(settings, sweep.model, sweep.storage, sweep.monitor)
    checkpoints = sweep.checkpoints(reporter.trial)
    wanted = Origin.wanted()
    if wanted is not None:
        reporter.history = wanted.history
        if wanted.trial != reporter.trial:
            inherit(sweep.checkpoints(wanted.trial), checkpoints, wanted.epoch)
    if is_own_process(config.num_workers):
        torch.set_num_threads(cpus)
        training(PlainRuntime(checkpoints, reporter, use_gpu=config.use_gpu))
    else:
        train_on_ray(training, checkpoints, config, reporter)


def is_own_process(num_workers: int) -> bool:
    """Tell whether a trial trains in its own process: one worker alone has nobody to talk to."""
    return num_workers <= 1
