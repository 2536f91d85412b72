"""The training function: the same in a plain process and in every worker of a Ray cluster."""

import math
import time
from collections.abc import Iterator, Mapping
from itertools import islice

import torch

from cluster.errors import InputError
from models.precision import autocast
from models.tables.placed import PlacedTables
from models.tables.placement import DEFAULT, PlacementName
from models.tables.workers import Workers
from train.average import WeightAverage
from train.config import ModelTraining
from train.data_parallel import data_parallel
from train.meter import SAMPLES, Meter
from train.moments import load_moments
from train.objective import Batch, Objective
from train.position import Position
from train.progress import Progress
from train.repeatable import repeatable, seed_step
from train.runtime import Runtime
from train.schedule import learning_rate
from train.state import State
from train.transfer import on_device

PULSE_STEPS = 10
"""Steps between two looks at the loss and the clock; each look waits for the device."""
TELL_S = 0.5
REPLICATED: dict[str, PlacementName] = {DEFAULT: "replicated"}
GO_ON, CHECKPOINT, OUT_OF_TIME = 0, 1, 2


def fit(
    objective: Objective,
    training: ModelTraining,
    runtime: Runtime,
    placements: Mapping[str, PlacementName] = REPLICATED,
) -> Position:
    """Train until the epochs, the patience or the time are used up; end with the best weights.

    A training that was interrupted goes on from its last checkpoint and ends with the very weights
    of one that was not: batches and dropout are functions of (seed, epoch, step, rank) alone.
    The model is a plain one again in the end; with sharded tables, on rank 0 alone.

    Raises:
        InputError: the loss is not a number any more.
    """
    with repeatable(runtime.device):
        run = Fit(objective, training, runtime, placements)
        run.resume()
        while not run.position.is_over:
            run.train_epoch()
            run.validate()
            run.checkpoint()
        run.use_best()
    return run.position


class Fit:
    """One training under way."""

    def __init__(
        self,
        objective: Objective,
        training: ModelTraining,
        runtime: Runtime,
        placements: Mapping[str, PlacementName] = REPLICATED,
    ) -> None:
        self.objective = objective
        self.training = training
        self.runtime = runtime
        self.tables = PlacedTables(
            objective.model,
            placements,
            training.embeddings,
            workers=Workers.connected(),
            device=runtime.device,
        )
        self.model = objective.model.to(runtime.device)
        self.replica = data_parallel(self.model, self.tables, runtime)
        self.optimizer = objective.optimizer()
        self.average = WeightAverage(self.model, training.averaging)
        self.num_steps = objective.num_steps(runtime.num_workers)
        self.position = Position()
        self.meter = Meter()
        self._clock = self._told = self._saved = time.monotonic()

    def resume(self) -> None:
        """Go on from the last checkpoint, if there is one."""
        state = self.runtime.restore(self._large_state())
        if state is not None:
            self.load_state_dict(state)

    def train_epoch(self) -> None:
        """Run the steps that the current epoch still has."""
        self.model.train()
        self.meter.start()
        for batch in self._batches():
            self._step(batch)
            self.position.advance()
            if self.position.step % PULSE_STEPS == 0 and self._pulse() == OUT_OF_TIME:
                self.position.is_over = True
                break
        self.meter.settle()
        self._check_loss()

    def validate(self) -> None:
        """Close the epoch: figures on rank 0, one decision for all workers.

        Where a lookup needs all workers, all of them compute the figures in step.
        """
        self.model.eval()
        figures = self._means()
        if self.runtime.rank == 0 or self.tables.is_sharded:
            precise = autocast(self.runtime.device, self.training.precision)
            with self.average.applied(), torch.no_grad(), precise:
                figures |= self.objective.validate()
        value = self.runtime.agree(figures.get(self.objective.monitor, math.nan))
        self._tick()
        done = self.position.step
        is_best = self.position.close_epoch(figures, value, self.training)
        self._tell(self._progress(done, figures, is_epoch=True, is_best=is_best))
        self.meter = Meter()

    def checkpoint(self) -> None:
        """Keep where the training stands."""
        figures = self.position.curves[-1] if self.position.curves else {}
        self._tick()
        self.runtime.report(figures, self.state_dict())
        self._saved = time.monotonic()

    def use_best(self) -> None:
        """Put the best epoch's weights, which its checkpoint holds, into the model."""
        self.runtime.settle()
        if self.position.best_epoch not in {0, self.position.epoch}:
            weights = self._weights()
            self.runtime.recall(self.position.best_epoch, weights)
            self.model.load_state_dict(weights["model"])
            self.average.load_state_dict(weights["average"])
        self.average.keep()
        self.model.eval()
        self.tables.release()

    def state_dict(self) -> State:
        """Return everything that a restarted training needs."""
        return {
            **self._large_state(),
            "optimizer": self.optimizer.state_dict(),
            "position": self.position.state_dict(),
            "meter": self.meter.state_dict(),
        }

    def load_state_dict(self, state: State) -> None:
        """Take over what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        load_moments(self.optimizer, state["optimizer"])
        self.tables.load_state_dict(state["tables"])
        self.average.load_state_dict(state["average"])
        self.position = Position.from_state_dict(state["position"])
        self.meter.load_state_dict(state["meter"])

    def _large_state(self) -> State:
        """Return what may be sharded, and is read in place."""
        return {**self._weights(), "tables": self.tables.state_dict()}

    def _weights(self) -> State:
        return {"model": self.model.state_dict(), "average": self.average.state_dict()}

    def _batches(self) -> Iterator[Batch]:
        rank, num_workers = self.runtime.rank, self.runtime.num_workers
        batches = self.objective.batches(self.position.epoch, rank, num_workers)
        left = islice(batches, self.position.step, self.num_steps)
        return on_device(left, self.runtime.device)

    def _step(self, batch: Batch) -> None:
        seed_step(self.runtime.device, self.training.seed, self.position, self.runtime.rank)
        self._set_learning_rate()
        with autocast(self.runtime.device, self.training.precision):
            loss, parts = self.replica(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.average.update(self.position.total_steps + 1)
        samples = torch.tensor(float(len(next(iter(batch.values())))))
        self.meter.add({"loss": loss.detach(), SAMPLES: samples, **parts})

    def _set_learning_rate(self) -> None:
        progress = self.position.total_steps / (self.training.epochs * self.num_steps)
        rate = learning_rate(self.training, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        share = rate / self.training.learning_rate
        self.tables.set_learning_rate(self.training.embeddings.learning_rate * share)

    def _pulse(self) -> int:
        """Look at the loss and the clock; return the decision that all workers share."""
        self.meter.settle()
        self._check_loss()
        self._tick()
        if time.monotonic() - self._told >= TELL_S:
            self._tell(self._progress(self.position.step, self.meter.means()))
        decision = int(self.runtime.agree(self._decision()))
        if decision == CHECKPOINT:
            self.checkpoint()
            self.meter.start()
        return decision

    def _decision(self) -> int:
        limit_s = (self.training.max_minutes or math.inf) * 60
        if self.position.seconds >= limit_s:
            return OUT_OF_TIME
        is_due = time.monotonic() - self._saved >= self.training.checkpoint_minutes * 60
        return CHECKPOINT if is_due else GO_ON

    def _tick(self) -> None:
        now = time.monotonic()
        self.position.seconds += now - self._clock
        self._clock = now

    def _check_loss(self) -> None:
        if not self.meter.is_finite:
            where = f"epoch {self.position.epoch + 1}, step {self.position.step}: learning_rate is"
            raise InputError(f"the loss is not finite in {where} {self.training.learning_rate}")

    def _means(self) -> dict[str, float]:
        means = {name: self.runtime.mean(m) for name, m in sorted(self.meter.means().items())}
        return {**means, "samples/s": self.meter.rate * self.runtime.num_workers}

    def _progress(
        self, step: int, figures: dict[str, float], *, is_epoch: bool = False, is_best: bool = False
    ) -> Progress:
        rate = self.meter.rate * self.runtime.num_workers
        return Progress(
            epoch=self.position.epoch + (0 if is_epoch else 1),
            step=step,
            num_steps=self.num_steps,
            total_steps=self.position.total_steps,
            figures={"samples/s": rate, **figures},
            monitor=self.objective.monitor,
            is_epoch=is_epoch,
            is_best=is_best,
        )

    def _tell(self, progress: Progress) -> None:
        self._told = time.monotonic()
        if self.runtime.rank == 0:
            self.runtime.listener.tell(progress)
