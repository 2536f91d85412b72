"""A table whose rows are cut into contiguous shards, one per worker."""

import math
import tempfile
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from cluster.memory import Memory
from models.tables.gradients import Contribution, RowGradients
from models.tables.lookup import Bags, looked_up
from models.tables.optimizer import TableOptimizer
from models.tables.routes import PartialSums, RowRoute, RowRouter

MEMORY_SHARE = 0.5
"""Of what is left, above which a whole table goes into a file."""

Returned = Callable[[], Contribution]


class RowShards:
    """Looks up by all_to_all: ids travel to the rows' owners, rows or sums of rows come back.

    All workers look up and go backward in lockstep. Lookups of distinct rows exchange each row
    once; a pooled lookup exchanges either distinct rows or each owner's share of every bag,
    whichever is fewer bytes in this step. Gradients return the same way.

    Args:
        weight: this worker's rows.
        optimizer: lets them learn.
        router: knows which worker owns which rows.
        due: called when the first gradient of a step arrives.
    """

    def __init__(
        self, weight: Tensor, optimizer: TableOptimizer, router: RowRouter, due: Callable[[], None]
    ) -> None:
        self.weight = weight
        self.optimizer = optimizer
        self.router = router
        self._due = due
        self._pending: list[Returned] = []
        group = router.workers.group
        assert group is not None
        self._mesh = DeviceMesh.from_group(group, weight.device.type)

    def rows(self, ids: Tensor) -> Tensor:
        """Return the vectors of ids (...): (..., dim)."""
        route = self.router.rows(ids.reshape(-1))
        rows = looked_up(partial(self._fetched, route), partial(self._add_rows, route))
        return rows.view(*ids.shape, -1)

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the last axis of ids (..., n) where mask: (..., dim), 0 of none."""
        bags = Bags.of(ids, mask, self.weight.dtype)
        route = self.router.bags(bags, self.weight.shape[1])
        if isinstance(route, PartialSums):
            read, report = partial(route.means, self.weight), partial(self._add_shares, route)
        else:
            read, report = partial(self._pooled, route, bags), partial(self._add_bags, route, bags)
        return looked_up(read, report).view(*ids.shape[:-1], -1)

    def collect(self) -> None:
        """Send the gradients of a step to the rows' owners, sum them there, and let rows learn."""
        contributions = [returned() for returned in self._pending]
        self._pending = []
        gradients = RowGradients.summed(contributions, self.weight)
        gradients.sums.div_(self.router.workers.num_workers)
        self.optimizer.update(gradients)

    def state(self) -> dict[str, Tensor]:
        """Return the optimizer's state, what has a value per row as a shard."""
        state = self.optimizer.state()
        return {name: self.as_shard(part) if part.ndim else part for name, part in state.items()}

    def as_shard(self, rows: Tensor) -> DTensor:
        """Wrap this worker's rows (n, ...) as its part of the whole; they share memory."""
        shape = torch.Size((self.router.num_rows, *rows.shape[1:]))
        stride = torch.empty(shape, device="meta").stride()
        return DTensor.from_local(
            rows, self._mesh, [Shard(0)], run_check=False, shape=shape, stride=stride
        )

    def whole(self) -> Tensor:
        """Return all rows on rank 0, our own elsewhere; called by all workers at once.

        Rows that memory does not hold lie in a file without a name, which the kernel pages.
        """
        router, workers = self.router, self.router.workers
        if workers.rank:
            workers.send(self.weight, to=0)
            return self.weight
        rows = rows_of(router.num_rows, self.weight)
        rows[: router.end] = self.weight
        for rank in range(1, workers.num_workers):
            part = rows[router.size * rank : router.size * (rank + 1)]
            workers.receive(part, of=rank)
        return rows

    def _fetched(self, route: RowRoute) -> Tensor:
        rows = route.fetched(self.weight)
        return torch.nn.functional.embedding(route.distinct.inverse(), rows)

    def _pooled(self, route: RowRoute, bags: Bags) -> Tensor:
        rows = route.fetched(self.weight)
        return bags.at(route.distinct.inverse()).means(rows)

    def _add_rows(self, route: RowRoute, gradients: Tensor) -> None:
        flat = self._flat(gradients)
        source = torch.arange(len(flat), device=flat.device)
        self._add(partial(route.returned, route.distinct.sums(source, flat)))

    def _add_bags(self, route: RowRoute, bags: Bags, gradients: Tensor) -> None:
        sums = route.distinct.sums(bags.source, self._flat(gradients) * bags.shares)
        self._add(partial(route.returned, sums))

    def _add_shares(self, route: PartialSums, gradients: Tensor) -> None:
        self._add(partial(route.returned, self._flat(gradients)))

    def _add(self, returned: Returned) -> None:
        self._pending.append(returned)
        self._due()

    def _flat(self, gradients: Tensor) -> Tensor:
        return gradients.reshape(-1, self.weight.shape[1]).to(self.weight.dtype).contiguous()


def rows_of(num_rows: int, like: Tensor, share: float = MEMORY_SHARE) -> Tensor:
    """Return room for rows; on a CPU in a file, if they take more than a share of what is left."""
    shape = num_rows, like.shape[1]
    size = math.prod(shape)
    is_small = size * like.element_size() < share * Memory().available_bytes()
    if is_small or like.device.type != "cpu":
        return like.new_empty(shape)
    with tempfile.TemporaryDirectory() as folder:  # what is mapped outlives its name
        rows = torch.from_file(f"{folder}/rows", shared=True, size=size, dtype=like.dtype)
    return rows.view(shape)
