"""The ways of a lookup in a sharded table: what is asked of which worker, and what comes back."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from models.tables.gradients import INT32_ROWS, Distinct
from models.tables.lookup import Bags
from models.tables.workers import Workers

ID_BYTES = 4
VALUE_BYTES = 4
MARGIN = 1.25
"""So many times the ids whose number decides are looked at first: most often they do."""


class Route(Protocol):
    """One lookup's side of the exchange. Per owner: the ids that are asked of it, and its answer.

    `ids[w]` (n_w,) are numbers in the whole table; where `lengths` (workers, bags) is given, owner
    w sums them to bags of `lengths[w]` ids and answers a row per bag, otherwise one per id.
    """

    ids: Sequence[Tensor]
    lengths: Tensor | None

    def joined(self, answers: Sequence[Tensor]) -> Tensor:
        """Make the lookup's vectors (m, dim) of the owners' answers."""
        ...

    def parted(self, gradients: Tensor) -> Sequence[Tensor]:
        """Make what each owner's answer gets of the gradients (m, dim) of the vectors."""
        ...


class RowRoute:
    """Distinct rows, each fetched once from its owner.

    Args:
        distinct: the ids.
        counts: how many of them each worker owns.
        bags: to which the fetched rows are averaged; None gives a vector per original id.
    """

    def __init__(self, distinct: Distinct, counts: list[int], bags: Bags | None = None) -> None:
        self.lengths: Tensor | None = None
        self.distinct = distinct
        self.counts = counts
        self.bags = bags
        self.ids: Sequence[Tensor] = torch.split(distinct.ids, counts)

    def joined(self, answers: Sequence[Tensor]) -> Tensor:
        """Put every row where it was asked for."""
        rows, inverse = torch.cat(list(answers)), self.distinct.inverse()
        if self.bags is not None:
            return self.bags.at(inverse).means(rows)
        return rows.index_select(0, inverse)

    def parted(self, gradients: Tensor) -> Sequence[Tensor]:
        """Sum the gradients of each row."""
        if self.bags is None:
            sums = self.distinct.own_sums(gradients)
        else:
            sums = self.distinct.sums(self.bags.source, gradients * self.bags.shares)
        return torch.split(sums, self.counts)


class PartialSums:
    """Bags that every owner sums over its own rows.

    Args:
        bags: the ids.
        order: (n,) what sorts them by owner, in each by bag.
        lengths: (workers, bags) how many of a bag's ids an owner has.
    """

    def __init__(self, bags: Bags, order: Tensor, lengths: Tensor) -> None:
        self.bags = bags
        self.lengths: Tensor | None = lengths
        counts = lengths.sum(1).tolist()
        self.ids: Sequence[Tensor] = torch.split(bags.ids.index_select(0, order), counts)

    def joined(self, answers: Sequence[Tensor]) -> Tensor:
        """Add the owners' sums up, and make them means."""
        first, *others = answers
        sums = first.clone()
        for answer in others:
            sums += answer
        return sums.mul_(self.bags.shares)

    def parted(self, gradients: Tensor) -> Sequence[Tensor]:
        """Every owner gets the gradients of all bags."""
        return [gradients * self.bags.shares] * len(self.ids)


class RowRouter:
    """Knows which worker owns which of `num_rows` rows: shards of one size, the last ones less."""

    def __init__(self, num_rows: int, workers: Workers) -> None:
        self.num_rows = num_rows
        self.workers = workers
        self.size = -(-num_rows // workers.num_workers)
        self.begin = min(workers.rank * self.size, num_rows)
        self.end = min(self.begin + self.size, num_rows)

    def rows(self, ids: Tensor, bags: Bags | None = None) -> RowRoute:
        """Route ids (n,), those of bags if they are."""
        distinct = Distinct.of(ids, self.num_rows)
        return RowRoute(distinct, self._counts(distinct.ids), bags)

    def bags(self, bags: Bags, dim: int) -> RowRoute | PartialSums:
        """Route bags the way that costs this worker fewer bytes."""
        bound = bound_of_rows(len(bags.ids), len(bags.starts), self.workers.num_workers, dim=dim)
        if has_more_distinct(bags.ids, bound):
            return self._partial_sums(bags)
        return self.rows(bags.ids, bags)

    def _partial_sums(self, bags: Bags) -> PartialSums:
        num_workers, num_bags = self.workers.num_workers, len(bags.starts)
        keys = bags.ids.int() if self.num_rows < INT32_ROWS else bags.ids
        owners = keys.div(self.size, rounding_mode="floor")
        order = torch.sort(owners.to(_small_type(num_workers)), stable=True).indices
        cells = bags.source.add(owners, alpha=num_bags)
        lengths = torch.bincount(cells, minlength=num_workers * num_bags)
        return PartialSums(bags, order, lengths.view(num_workers, num_bags))

    def _counts(self, ids: Tensor) -> list[int]:
        """Count how many of the ascending ids each worker owns."""
        firsts = torch.arange(1, self.workers.num_workers, device=ids.device) * self.size
        cuts = [0, *torch.searchsorted(ids, firsts).tolist(), len(ids)]
        return [end - begin for begin, end in zip(cuts, cuts[1:], strict=False)]


def bound_of_rows(num_ids: int, num_bags: int, num_workers: int, *, dim: int) -> float:
    """Return the number of distinct ids up to which rows cost fewer bytes than sums of bags.

    A row costs its id and, forward and backward, its values, if it is not our own. A sum costs
    the values at every worker, and all ids with their repetitions travel.
    """
    values = 2 * VALUE_BYTES * dim
    sums = num_ids * ID_BYTES / num_workers + num_bags * (ID_BYTES + values)
    return sums * num_workers / (ID_BYTES + values)


def has_more_distinct(ids: Tensor, bound: float) -> bool:
    """Tell whether ids (n,) have more than `bound` different values."""
    for count in (int(MARGIN * bound) + 1, len(ids)):
        if min(count, len(ids)) > bound and _num_distinct(ids[:count]) > bound:
            return True
    return False


def _num_distinct(ids: Tensor) -> int:
    ordered = torch.sort(ids).values
    return 1 + int((ordered[1:] != ordered[:-1]).sum())


def _small_type(num_workers: int) -> torch.dtype:
    """Return a type for worker numbers; the fewer its bytes, the faster they are sorted."""
    return torch.uint8 if num_workers <= torch.iinfo(torch.uint8).max else torch.int32
