"""Carries out orders: on Ray Train's workers, or in this process."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext

import torch

from cluster.errors import ConfigError
from cluster.session import session
from train.checkpoints import Checkpoints
from train.config import TrainConfig, TrainSettings
from train.console import Console
from train.figures import flat
from train.order import Order
from train.plain import PlainRuntime
from train.progress import Listener, Listeners
from train.tracking import Tracking
from train.trainees import training_of
from train.trainer import train_on_ray


def carry_out(settings: TrainSettings, orders: Sequence[Order]) -> None:
    """Train what was ordered, one model after the other, tracked in MLflow.

    An order that is done already is trained from its beginning; one that was interrupted goes on.
    """
    if not orders:
        return
    config = settings.train
    params = {key: str(value) for key, value in flat(settings.model_dump(mode="json")).items()}
    is_on_ray = config.num_workers > 0
    with (
        Tracking(orders[0].storage, params) as tracking,
        session(settings.cluster) if is_on_ray else nullcontext(),
    ):
        for order in orders:
            _carry_out(order, config, tracking)


def _carry_out(order: Order, config: TrainConfig, tracking: Tracking) -> None:
    checkpoints = Checkpoints.of(order.storage, order.run, order.identity)
    if order.is_done:
        checkpoints.clear()
    reason = order.interrupted()
    if reason:
        sys.stderr.write(f"{order.model}: begins anew: {reason}\n")
    run = tracking.start(order.model, order.identity)
    epochs = training_of(order.settings, order.model).epochs
    with Console(order.model, epochs) as console:
        listener = Listeners((console, run))
        if config.num_workers:
            train_on_ray(order.carry_out, checkpoints, config, listener)
        else:
            _train_here(order, checkpoints, config, listener)
    run.finish(order.metrics())
    order.forget_runs()


def _train_here(
    order: Order, checkpoints: Checkpoints, config: TrainConfig, listener: Listener
) -> None:
    if config.use_gpu and not torch.cuda.is_available():
        raise ConfigError("train.use_gpu: torch finds no GPU in this process")
    if config.cpus_per_worker:
        torch.set_num_threads(config.cpus_per_worker)
    order.carry_out(PlainRuntime(checkpoints, listener, use_gpu=config.use_gpu))
