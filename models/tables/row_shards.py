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
from models.tables.asked import Asked, AtHand
from models.tables.exchange import Exchange, Lookup
from models.tables.gradients import Contribution, RowGradients
from models.tables.lookup import Bags, looked_up
from models.tables.optimizer import TableOptimizer
from models.tables.routes import Route, RowRouter

MEMORY_SHARE = 0.5
"""Of what is left, above which a whole table goes into a file."""


class RowShards:
    """Looks up by all_to_all: ids travel to the rows' owners, rows or sums of rows come back.

    All workers look up and go backward in lockstep. Lookups of rows exchange each distinct row
    once; a pooled lookup exchanges either distinct rows or each owner's share of every bag,
    whichever is fewer bytes for the worker. Gradients return the same way.

    Args:
        weight: this worker's rows.
        optimizer: lets them learn.
        router: knows which worker owns which rows.
        exchange: carries the lookups of all tables.
        due: called when the first gradient of a step arrives.
    """

    def __init__(
        self,
        weight: Tensor,
        optimizer: TableOptimizer,
        router: RowRouter,
        *,
        exchange: Exchange,
        due: Callable[[], None],
    ) -> None:
        self.weight = weight
        self.optimizer = optimizer
        self.router = router
        self.exchange = exchange
        self._due = due
        self._pending: list[Contribution] = []
        group = router.workers.group
        assert group is not None
        self._mesh = DeviceMesh.from_group(group, weight.device.type)

    def ask_rows(self, ids: Tensor) -> Asked:
        """Ask for the vectors of ids (...): (..., dim)."""
        return self._asked(self.router.rows(ids.reshape(-1)), ids.shape)

    def ask_pooled(self, ids: Tensor, mask: Tensor) -> Asked:
        """Ask for the mean over the last axis of ids (..., n) where mask: (..., dim), 0 of none."""
        bags = Bags.of(ids, mask, self.weight.dtype)
        return self._asked(self.router.bags(bags, self.weight.shape[1]), ids.shape[:-1])

    def collect(self) -> None:
        """Sum what the exchange has brought of a step, and let the rows learn."""
        summed = RowGradients.summed(self._pending, self.weight)
        self._pending = []
        self.optimizer.update(summed)

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

    def _asked(self, route: Route, shape: torch.Size) -> Asked:
        lookup = Lookup(route, self.weight, self.router, self._add)
        self.exchange.ask(lookup)
        return AtHand(partial(self._taken, lookup, shape))

    def _taken(self, lookup: Lookup, shape: torch.Size) -> Tensor:
        if not lookup.answers:
            self.exchange.answer()
        vectors = looked_up(lookup.vectors, partial(self._report, lookup))
        return vectors.view(*shape, self.weight.shape[1])

    def _report(self, lookup: Lookup, gradients: Tensor) -> None:
        flat = gradients.reshape(-1, self.weight.shape[1]).to(self.weight.dtype)
        self.exchange.learn(lookup, flat.contiguous())
        self._due()

    def _add(self, contribution: Contribution) -> None:
        self._pending.append(contribution)


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
