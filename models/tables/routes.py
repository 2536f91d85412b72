"""The ways of a lookup in a sharded table: which worker is asked for what, and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.tables.gradients import Contribution, Distinct
from models.tables.lookup import Bags
from models.tables.workers import Workers

ID_BYTES = 8
VALUE_BYTES = 4
EXACT_IDS = 16_384
SAMPLED = 16
"""One in so many distinct ids is counted, of more than `EXACT_IDS`."""
HASH_FACTOR, HASH_SHIFT = 0x1E3779B97F4A7C15, 60  # the upper bits of a product, -8 to 7: 16 values


@dataclass(frozen=True)
class RowRoute:
    """Distinct rows, each fetched once from its owner.

    `sent[w]` of the distinct ids belong to worker w, which asks for `received[w]` of ours:
    `asked` (sum of received,), numbered within our shard.
    """

    workers: Workers
    distinct: Distinct
    sent: Sequence[int]
    received: Sequence[int]
    asked: Tensor

    def fetched(self, weight: Tensor) -> Tensor:
        """Return the distinct rows (n, dim); `weight` is our shard."""
        rows = torch.nn.functional.embedding(self.asked, weight)
        return self.workers.exchanged(rows, self.received, self.sent)

    def returned(self, sums: Tensor) -> Contribution:
        """Send the distinct rows' gradients to their owners; return what came to us."""
        gradients = self.workers.exchanged(sums, self.sent, self.received)
        return Contribution.row_by_row(self.asked, gradients)


@dataclass(frozen=True)
class PartialSums:
    """Bags that every owner sums over its own rows.

    Worker w has `bags[w]` bags. `asked` (n,) are ids in our shard, by worker and bag; `source`
    (n,) their bags, counted over all workers; `starts` (sum of bags,) where one begins.
    """

    workers: Workers
    own: Bags
    bags: Sequence[int]
    asked: Tensor
    source: Tensor
    starts: Tensor

    def means(self, weight: Tensor) -> Tensor:
        """Return the mean of each of our bags (bags, dim); `weight` is our shard."""
        sums = torch.nn.functional.embedding_bag(self.asked, weight, self.starts, mode="sum")
        parts = self.workers.exchanged(sums, self.bags, self._to_all)
        return parts.view(len(self.bags), -1, weight.shape[1]).sum(0).mul_(self.own.shares)

    def returned(self, gradients: Tensor) -> Contribution:
        """Send our bags' gradients (bags, dim) to all owners; return what came to us."""
        repeated = (gradients * self.own.shares).repeat(len(self.bags), 1)
        received = self.workers.exchanged(repeated, self._to_all, self.bags)
        return Contribution(self.asked, self.source, received)

    @property
    def _to_all(self) -> list[int]:
        return [len(self.own.starts)] * len(self.bags)


class RowRouter:
    """Knows which worker owns which of `num_rows` rows: shards of one size, the last ones less."""

    def __init__(self, num_rows: int, workers: Workers) -> None:
        self.num_rows = num_rows
        self.workers = workers
        self.size = -(-num_rows // workers.num_workers)
        self.begin = min(workers.rank * self.size, num_rows)
        self.end = min(self.begin + self.size, num_rows)

    def rows(self, ids: Tensor) -> RowRoute:
        """Route ids (n,)."""
        distinct = Distinct.of(ids, self.num_rows)
        counts = self.workers.all(self._counts(distinct.ids))
        sent = counts[self.workers.rank].tolist()
        received = counts[:, self.workers.rank].tolist()
        asked = self.workers.exchanged(distinct.ids, sent, received) - self.begin
        return RowRoute(self.workers, distinct, sent, received, asked)

    def bags(self, bags: Bags, dim: int) -> RowRoute | PartialSums:
        """Route bags the way that costs all workers together fewer bytes."""
        own = [about_distinct(bags.ids), len(bags.ids), len(bags.starts)]
        facts = self.workers.all(torch.tensor(own, device=bags.ids.device))
        num_distinct, num_ids, num_bags = facts.sum(0).tolist()
        if are_sums_cheaper(num_distinct, num_ids, num_bags, self.workers.num_workers, dim=dim):
            return self._partial_sums(bags, facts[:, 2].tolist())
        return self.rows(bags.ids)

    def _partial_sums(self, bags: Bags, num_bags: list[int]) -> PartialSums:
        num_workers, own = self.workers.num_workers, len(bags.starts)
        owners = bags.ids.div(self.size, rounding_mode="floor")
        order = torch.sort(owners.to(torch.int32), stable=True).indices
        lengths = torch.bincount(owners * own + bags.source, minlength=num_workers * own)
        received = self.workers.exchanged(lengths, [own] * num_workers, num_bags)
        sent = lengths.view(num_workers, own).sum(1).tolist()
        asked = [int(part.sum()) for part in torch.split(received, num_bags)]
        ids = self.workers.exchanged(bags.ids.index_select(0, order), sent, asked) - self.begin
        source = torch.arange(len(received), device=ids.device).repeat_interleave(received)
        starts = received.cumsum(0) - received
        return PartialSums(self.workers, bags, num_bags, ids, source, starts)

    def _counts(self, ids: Tensor) -> Tensor:
        """Count how many of the ascending ids each worker owns (workers,)."""
        firsts = torch.arange(1, self.workers.num_workers, device=ids.device) * self.size
        cuts = torch.searchsorted(ids, firsts)
        ends = torch.cat([cuts, cuts.new_tensor([len(ids)])])
        return ends.diff(prepend=ends.new_zeros(1))


def about_distinct(ids: Tensor) -> int:
    """Return about how many ids are distinct: of many, those whose hash falls into a sample."""
    if len(ids) <= EXACT_IDS:
        return len(torch.unique(ids))
    hashes = (ids * HASH_FACTOR) >> HASH_SHIFT
    return SAMPLED * len(torch.unique(ids[hashes == 0]))


def are_sums_cheaper(
    num_distinct: int, num_ids: int, num_bags: int, num_workers: int, *, dim: int
) -> bool:
    """Compare the bytes of both exchanges, forward and backward.

    Args:
        num_distinct: distinct ids, summed over the workers.
        num_ids: all ids.
        num_bags: all bags.
        num_workers: owners that a bag is sent to.
        dim: of a row.
    """
    values = 2 * VALUE_BYTES * dim
    rows = num_distinct * (ID_BYTES + values) / num_workers
    sums = num_ids * ID_BYTES / num_workers + num_bags * (ID_BYTES + values)
    return sums < rows
