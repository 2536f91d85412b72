"""The messages by which sharded tables look up: few, whatever the number of lookups."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from models.tables.gradients import INT32_ROWS, Contribution
from models.tables.routes import Route, RowRouter
from models.tables.served import Served
from models.tables.workers import Workers

HEADER = 2
"""Numbers that announce a lookup: its ids and its bags."""


class Lookup:
    """One lookup on its way.

    Args:
        route: what is asked of whom.
        weight: our shard of the table.
        router: of the table.
        learn: takes what other workers' gradients say of our rows.
    """

    def __init__(
        self,
        route: Route,
        weight: Tensor,
        router: RowRouter,
        learn: Callable[[Contribution], None],
    ) -> None:
        self.route = route
        self.weight = weight
        self.router = router
        self.learn = learn
        self.served: list[Served] = []
        self.answers: list[Tensor] = []

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Per owner: numbers of ids and of bags."""
        lengths = self.route.lengths
        return [(len(ids), 0 if lengths is None else lengths.shape[1]) for ids in self.route.ids]

    @property
    def num_asked(self) -> list[int]:
        """Per owner: numbers that its answer has."""
        dim = self.weight.shape[1]
        return [dim * (num_bags or num_ids) for num_ids, num_bags in self.sizes]

    @property
    def num_served(self) -> list[int]:
        """Per worker: numbers that our answer has."""
        return [self.weight.shape[1] * served.num_rows for served in self.served]

    def question(self, owner: int) -> Iterator[Tensor]:
        """Yield what is sent to an owner."""
        yield self.route.ids[owner]
        if self.route.lengths is not None:
            yield self.route.lengths[owner]

    def serve(self, ids: Tensor, lengths: Tensor) -> None:
        """Take the next worker's question."""
        own = ids - self.router.begin
        self.served.append(Served(own, lengths if len(lengths) else None))

    def vectors(self) -> Tensor:
        """Return what was looked up."""
        return self.route.joined(self.answers)


class Exchange:
    """Three messages to every worker for all lookups that wait, one for all of a step's gradients.

    All workers make the same lookups in the same order; how many ids each has is its own affair.

    Args:
        workers: that share the tables.
    """

    def __init__(self, workers: Workers) -> None:
        self.workers = workers
        self._waiting: list[Lookup] = []
        self._learning: list[tuple[Lookup, Sequence[Tensor]]] = []

    def ask(self, lookup: Lookup) -> None:
        """Let a lookup wait for the next round."""
        self._waiting.append(lookup)

    def answer(self) -> None:
        """Send all questions that wait, answer the others' questions, and receive our answers."""
        lookups, self._waiting = self._waiting, []
        self._ask(lookups)
        answers = self._sent_back(lookups)
        sizes = [lookup.num_asked for lookup in lookups]
        flat = self.workers.exchanged(answers, _sums(x.num_served for x in lookups), _sums(sizes))
        for lookup, parts in zip(lookups, self._parts(flat, sizes), strict=True):
            lookup.answers = [part.view(-1, lookup.weight.shape[1]) for part in parts]

    def learn(self, lookup: Lookup, gradients: Tensor) -> None:
        """Keep the gradients (m, dim) of a lookup's vectors for the end of the step.

        Rows learn from the workers' mean.
        """
        parts = lookup.route.parted(gradients / self.workers.num_workers)
        self._learning.append((lookup, parts))

    def bring_back(self) -> None:
        """Send all gradients to the rows' owners, and hand over those that came to us."""
        learning, self._learning = self._learning, []
        if not learning:
            return
        lookups = [lookup for lookup, _ in learning]
        owners = range(self.workers.num_workers)
        flat = torch.cat([parts[owner].reshape(-1) for owner in owners for _, parts in learning])
        sizes = [lookup.num_served for lookup in lookups]
        flat = self.workers.exchanged(flat, _sums(x.num_asked for x in lookups), _sums(sizes))
        for lookup, parts in zip(lookups, self._parts(flat, sizes), strict=True):
            for served, part in zip(lookup.served, parts, strict=True):
                lookup.learn(served.contribution(part.view(-1, lookup.weight.shape[1])))

    def _ask(self, lookups: list[Lookup]) -> None:
        owners = range(self.workers.num_workers)
        sizes = [[lookup.sizes[owner] for lookup in lookups] for owner in owners]
        device = lookups[0].weight.device
        header = torch.tensor(sizes, dtype=torch.int64, device=device).view(len(owners), -1)
        announced = self.workers.crossed(header).tolist()
        pieces = [x for owner in owners for lookup in lookups for x in lookup.question(owner)]
        message = torch.cat(pieces).to(_type_of(lookups))
        sent = [sum(map(sum, pairs)) for pairs in sizes]
        received = [sum(numbers) for numbers in announced]
        body = self.workers.exchanged(message, sent, received).long()
        parts = iter(torch.split(body, [size for numbers in announced for size in numbers]))
        for _ in owners:
            for lookup in lookups:
                lookup.serve(next(parts), next(parts))

    def _sent_back(self, lookups: list[Lookup]) -> Tensor:
        """Return our answers to all workers, by worker and lookup."""
        sizes = [lookup.num_served for lookup in lookups]
        flat = lookups[0].weight.new_empty(sum(map(sum, sizes)))
        for lookup, parts in zip(lookups, self._parts(flat, sizes), strict=True):
            for served, part in zip(lookup.served, parts, strict=True):
                served.answer(lookup.weight, part.view(-1, lookup.weight.shape[1]))
        return flat

    def _parts(self, flat: Tensor, sizes: Sequence[Sequence[int]]) -> list[list[Tensor]]:
        """Cut a message, by worker and lookup, into each lookup's parts by worker."""
        by_worker = list(zip(*sizes, strict=True))
        parts = torch.split(flat, [size for row in by_worker for size in row])
        return [list(parts[first :: len(sizes)]) for first in range(len(sizes))]


def _sums(sizes: "Sequence[Sequence[int]] | Iterator[Sequence[int]]") -> list[int]:
    """Sum the lookups' sizes by worker."""
    return [sum(row) for row in zip(*sizes, strict=True)]


def _type_of(lookups: list[Lookup]) -> torch.dtype:
    """Return the type that ids travel in."""
    is_small = all(lookup.router.num_rows < INT32_ROWS for lookup in lookups)
    return torch.int32 if is_small else torch.int64
