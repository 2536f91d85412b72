"""The questions that retrieval is judged by: users of a split, what was known of them, targets."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.assembly import Inputs
from features.encoding import Encoded
from features.examples import Examples
from features.timelines import SPLITS, Timelines

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Queries:
    """Users with targets in a split, asked at the instant and context of their first target.

    Shapes: `users` (n,) user rows, `timestamps` (n,), `history`, `history_ms` (n, length) as
    `Timelines.histories` gives them, `context` (n, ...); `known_items` are all items that user
    `known_query[i]` had a positive with before, with repetitions; `target_items` the set of
    items that user `target_query[i]` is about to choose.
    """

    users: npt.NDArray[np.int32]
    timestamps: npt.NDArray[np.int64]
    history: npt.NDArray[np.int32]
    history_ms: npt.NDArray[np.int64]
    context: Encoded
    known_query: Index
    known_items: npt.NDArray[np.int32]
    target_query: Index
    target_items: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)

    def inputs(self, examples: Examples) -> Inputs:
        """Assemble the user tower's inputs, by the assembler that serves requests."""
        counts_shape = (len(self), 0, 1 + len(examples.schema.tasks))
        inputs = examples.assembler.user_inputs(
            examples.users.take(self.users),
            self.context,
            timestamps_ms=self.timestamps,
            history=self.history,
            history_ms=self.history_ms,
            counts=np.zeros(counts_shape, np.float32),
        )
        del inputs["user_rates"]
        return inputs


class Questions:
    """All queries of one split, read in chunks from memory-mapped timelines.

    The history is what earlier splits hold of the user; items that it holds are no targets where
    `exclude_seen`.
    """

    def __init__(self, examples: Examples, split: str, *, exclude_seen: bool) -> None:
        self.examples = examples
        self.exclude_seen = exclude_seen
        self.split = SPLITS.index(split)

    def chunks(self, size: int, limit: int | None = None) -> Iterator[Queries]:
        """Yield queries, at most `size` at a time and about `limit` in all, evenly spaced."""
        askers = [self._askers(p) for p in range(self.examples.num_partitions)]
        total = sum(len(users) for users in askers)
        stride = max(1, -(-total // limit)) if limit else 1
        for partition, users in enumerate(askers):
            for begin in range(0, len(users), size * stride):
                yield self._queries(partition, users[begin : begin + size * stride : stride])

    def _askers(self, partition: int) -> Index:
        """Return the timelines that have targets."""
        timelines = self.examples.timelines(partition)
        owner = _owners(timelines)
        return np.unique(owner[self._is_target(timelines, owner)])

    def _is_target(self, timelines: Timelines, owner: Index) -> npt.NDArray[np.bool_]:
        """Tell a user's first positive of each item in the split, unless it is known."""
        split = np.asarray(timelines.split)
        is_target = split == self.split
        pairs = owner * (self.examples.catalogue.num_items + 1) + timelines.items
        if self.exclude_seen:
            is_target &= ~np.isin(pairs, pairs[split < self.split])
        chosen = np.flatnonzero(is_target)
        is_first = np.zeros(len(owner), np.bool_)
        is_first[chosen[np.unique(pairs[chosen], return_index=True)[1]]] = True
        return is_first

    def _queries(self, partition: int, chosen: Index) -> Queries:
        timelines = _of_users(self.examples.timelines(partition), chosen)
        owner = _owners(timelines)
        is_target = self._is_target(timelines, owner)
        known = np.flatnonzero(np.asarray(timelines.split) < self.split)
        targets = np.flatnonzero(is_target)
        first = targets[np.unique(owner[targets], return_index=True)[1]]
        history, history_ms = self._histories(timelines, owner, known)
        no_multi = np.zeros((len(chosen), 0, self.examples.schema.max_values), np.int32)
        return Queries(
            users=timelines.users,
            timestamps=timelines.timestamps[first],
            history=history,
            history_ms=history_ms,
            context=Encoded(
                timelines.context_codes[first], no_multi, timelines.context_numbers[first]
            ),
            known_query=owner[known],
            known_items=timelines.items[known],
            target_query=owner[targets],
            target_items=timelines.items[targets],
        )

    def _histories(
        self, timelines: Timelines, owner: Index, known: Index
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        ends = np.searchsorted(owner[known], np.arange(len(timelines.users)), side="right")
        begins = np.concatenate([[0], ends[:-1]])
        earlier = _of_events(timelines, known)
        return earlier.histories(begins, ends, self.examples.schema.history_length)


def _owners(timelines: Timelines) -> Index:
    """Return each event's timeline."""
    return np.repeat(np.arange(len(timelines.users)), np.diff(timelines.offsets))


def _of_users(timelines: Timelines, chosen: Index) -> Timelines:
    """Copy some users' timelines."""
    sizes = np.diff(timelines.offsets)[chosen]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    events = np.repeat(timelines.offsets[chosen], sizes) + within
    return _of_events(timelines, events, users=timelines.users[chosen], offsets=offsets)


def _of_events(
    timelines: Timelines,
    events: Index,
    *,
    users: npt.NDArray[np.int32] | None = None,
    offsets: Index | None = None,
) -> Timelines:
    return Timelines(
        users=timelines.users if users is None else users,
        offsets=timelines.offsets if offsets is None else offsets,
        items=timelines.items[events],
        timestamps=timelines.timestamps[events],
        context_codes=timelines.context_codes[events],
        context_numbers=timelines.context_numbers[events],
        split=timelines.split[events],
    )
