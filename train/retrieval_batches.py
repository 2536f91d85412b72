"""Two-tower batches: windows of timelines of similar length, gathered from memory-mapped arrays."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch

from features.assembly import Assembler, Inputs, gap_codes
from features.examples import Examples
from train.candidates import candidates
from train.config import RetrievalTraining
from train.objective import Batch
from train.window_events import WindowEvents
from train.windows import Index, Positives, Windows, cut

POOL_STEPS = 32
"""Steps whose windows are sorted by length together, so that little is padding."""


class RetrievalBatches:
    """Batches of the training split's positives; see `TwoTowerLoss` for their tensors.

    Args:
        examples: the prepared data.
        training: batch size (windows), weights and candidates.
        exclude_seen: an item that the user had before is no target.
    """

    def __init__(
        self, examples: Examples, training: RetrievalTraining, *, exclude_seen: bool
    ) -> None:
        self.examples = examples
        self.training = training
        self.exclude_seen = exclude_seen
        timelines = [examples.timelines(p) for p in range(examples.num_partitions)]
        self.partitions = [Positives.of(timeline) for timeline in timelines]
        self.windows = cut(self.partitions, examples.schema.history_length)
        self.candidates = candidates(examples.catalogue, self.popularity(), training)
        times = [p.timelines.timestamps[p.positions] for p in self.partitions]
        self._end_ms = max((int(t.max()) for t in times if len(t)), default=0)
        self._total_weight = sum(
            float(self._weights(t, p.is_new).sum())
            for t, p in zip(times, self.partitions, strict=True)
        )
        self._local = np.zeros(examples.catalogue.num_items + 1, np.int64)

    def popularity(self) -> npt.NDArray[np.float64]:
        """Return the training positives by item row."""
        counts = np.zeros(self.examples.catalogue.num_items + 1)
        for positives in self.partitions:
            items = positives.timelines.items[positives.positions]
            counts += np.bincount(items, minlength=len(counts))
        return counts

    def num_steps(self, num_workers: int) -> int:
        """Return the steps of an epoch; at least one."""
        size = self.training.batch_size
        assert size is not None, "the number of users gave it"
        return max(1, -(-len(self.windows) // (size * num_workers)))

    def epoch(self, epoch: int, rank: int, num_workers: int) -> Iterator[Batch]:
        """Yield one worker's batches of one epoch."""
        plan = self._plan(np.random.default_rng((self.training.seed, epoch)), num_workers)
        normaliser = self._total_weight / (len(plan) * num_workers)
        for step, index in enumerate(plan):
            rng = np.random.default_rng((self.training.seed, epoch, step))
            batch = self.batch(self.windows.take(index), rng, rank=rank, num_workers=num_workers)
            batch["weights"] /= np.float32(normaliser)
            yield {name: torch.from_numpy(array) for name, array in batch.items()}

    def batch(
        self, windows: Windows, rng: np.random.Generator, *, rank: int = 0, num_workers: int = 1
    ) -> Inputs:
        """Gather one worker's part of a step's windows; weights are not normalised.

        The candidates are those of the whole step: what is a target to one worker is a negative
        to all others.
        """
        own = windows.take(np.arange(rank, len(windows), num_workers))
        events = WindowEvents.gather(own, self.partitions)
        weights = self._weights(events.timestamps, events.is_new) * events.is_target
        rows, columns = np.nonzero(weights)
        targets = events.items[rows, columns].astype(np.int64)
        history = np.where(events.is_real[:, 1:], events.items[:, :-1], 0)
        all_targets = targets if num_workers == 1 else self._targets(windows)
        candidate_rows, offsets = self.candidates.draw(all_targets, rng)
        others = self._number(candidate_rows, history)
        item_rows = np.concatenate([_share(candidate_rows, rank, num_workers), others])
        users = self.examples.users.take(events.users)
        numbers = self._local[history]
        return {
            "targets": self._local[targets],
            "weights": weights[rows, columns],
            "target_rows": rows,
            "target_states": events.num_earlier[rows, columns],
            "context_codes": events.context_codes[rows, columns].astype(np.int64),
            "context_numbers": events.context_numbers[rows, columns],
            "history": numbers,
            "history_steps": self._steps(events),
            "user_codes": users.codes.astype(np.int64),
            "user_multi": users.multi.astype(np.int64),
            "user_numbers": users.numbers,
            "offsets": offsets,
            **self._barred(numbers, history > 0, len(candidate_rows)),
            "shares": np.zeros((num_workers, 0), np.float32),
            **Assembler.static_item_inputs(self.examples.catalogue.encoded.take(item_rows)),
        }

    def _plan(self, rng: np.random.Generator, num_workers: int) -> Index:
        """Return the windows of each step, (steps, windows), in random order."""
        steps = self.num_steps(num_workers)
        size = max(-(-len(self.windows) // steps), num_workers)
        order = np.resize(rng.permutation(len(self.windows)), steps * size)
        lengths = self.windows.lengths
        for begin in range(0, len(order), POOL_STEPS * size):
            pool = order[begin : begin + POOL_STEPS * size]
            pool[:] = pool[np.argsort(lengths[pool], kind="stable")]
        return rng.permutation(order.reshape(steps, size))

    def _number(self, candidate_rows: Index, history: npt.NDArray[np.int32]) -> Index:
        """Number the step's items, candidates first; padding gets any number. Return the others."""
        others = np.setdiff1d(history, candidate_rows)
        item_rows = np.concatenate([candidate_rows, others[others > 0]])
        self._local[item_rows] = np.arange(len(item_rows))
        return item_rows[len(candidate_rows) :]

    def _targets(self, windows: Windows) -> Index:
        """Return the targets of windows, as `batch` finds them."""
        parts = []
        for partition in np.unique(windows.partition):
            positives = self.partitions[partition]
            index = windows.take(windows.partition == partition).targets()
            positions = positives.positions[index]
            weights = self._weights(
                positives.timelines.timestamps[positions], positives.is_new[index]
            )
            parts.append(positives.timelines.items[positions[weights > 0]])
        return np.concatenate(parts).astype(np.int64)

    def _barred(
        self, numbers: Index, is_real: npt.NDArray[np.bool_], num_candidates: int
    ) -> Inputs:
        """What a user had is no wrong answer where answers leave it out."""
        if not self.exclude_seen:
            return {}
        return {"barred": np.where(is_real & (numbers < num_candidates), numbers, -1)}

    def _weights(
        self, timestamps: npt.NDArray[np.int64], is_new: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.float32]:
        half_life = self.training.half_life
        age = (self._end_ms - timestamps) / half_life if half_life else np.zeros(timestamps.shape)
        is_wanted = is_new | (not self.exclude_seen)
        return np.where(is_wanted, np.exp2(-age), 0).astype(np.float32)

    def _steps(self, events: WindowEvents) -> npt.NDArray[np.int64]:
        elapsed_ms = np.diff(events.timestamps, axis=1)
        codes = gap_codes(elapsed_ms, has_time=self.examples.schema.has_time)
        return np.where(events.is_real[:, 1:], codes, 0)


def _share(candidate_rows: Index, rank: int, num_workers: int) -> Index:
    """Return the candidates that a worker encodes, as many as every worker."""
    size = -(-len(candidate_rows) // num_workers)
    padded = np.pad(candidate_rows, (0, size * num_workers - len(candidate_rows)), mode="edge")
    return padded[rank * size : (rank + 1) * size]
