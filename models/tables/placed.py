"""All tables of a model, placed for its training."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from models.embedding import EmbeddingTable
from models.tables.adagrad import RowwiseAdagrad
from models.tables.adamw import TableAdamW
from models.tables.capacity import Capacity
from models.tables.exchange import Exchange
from models.tables.optimizer import Learning, OptimizerName, TableOptimizer
from models.tables.placement import DEFAULT, PlacementName
from models.tables.routes import RowRouter
from models.tables.row_shards import RowShards
from models.tables.whole import WholeTable
from models.tables.workers import Workers

OPTIMIZERS: dict[OptimizerName, type[RowwiseAdagrad] | type[TableAdamW]] = {
    "adamw": TableAdamW,
    "rowwise_adagrad": RowwiseAdagrad,
}
SUFFIX = ".table"

TableState = dict[str, dict[str, Tensor]]


class PlacedTables:
    """Places a model's tables; from then on every backward pass ends with a step of theirs.

    A table may be looked up several times in a step: all gradients are summed before its
    optimizer sees them. The learning rate is set before backward.

    Args:
        model: whose tables are placed; tables that are deferred get their memory now.
        placements: by table name, with "default" for all others.
        learning: how the tables learn.
        workers: that train together.
        device: where the rows are to be.

    Raises:
        InputError: a table does not fit into memory; nothing of it was made.
    """

    def __init__(
        self,
        model: nn.Module,
        placements: Mapping[str, PlacementName],
        learning: Learning,
        *,
        workers: Workers | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.workers = workers or Workers()
        self.tables = tables_of(model)
        self.learning = learning
        self.device = device or torch.device("cpu")
        self._exchange = Exchange(self.workers)
        self._capacity = Capacity(self.device, learning, self.workers.num_workers)
        self._placements = {
            name: self._place(name, table, placement_of(name, placements))
            for name, table in self.tables.items()
        }
        self._is_due = False

    def set_learning_rate(self, rate: float) -> None:
        """Set the rate of the steps to come."""
        for placement in self._placements.values():
            placement.optimizer.learning_rate = rate

    def parameter_names(self, model: nn.Module) -> list[str]:
        """Return the names of the placed weights, which are no business of DDP."""
        placed = {id(table.weight) for table in self.tables.values()}
        return [name for name, weight in model.named_parameters() if id(weight) in placed]

    def state_dict(self) -> TableState:
        """Return the optimizers' states by table."""
        return {name: placement.state() for name, placement in self._placements.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take over what `state_dict` returned."""
        for name, own in self.state_dict().items():
            for key, tensor in own.items():
                if tensor is not state[name][key]:
                    _local(tensor).copy_(_local(state[name][key]))

    @property
    def is_sharded(self) -> bool:
        """Whether a lookup needs all workers."""
        return any(isinstance(placement, RowShards) for placement in self._placements.values())

    def release(self) -> None:
        """Make the tables plain parameters again; sharded ones on rank 0 only.

        Called by all workers at once. The model of the others is of no use afterwards.
        """
        for name, table in self.tables.items():
            placement = self._placements[name]
            if isinstance(placement, RowShards):
                table.weight = nn.Parameter(placement.whole())
            table.placement = None
            table.weight.requires_grad_(True)

    def _place(
        self, name: str, table: EmbeddingTable, placement: PlacementName
    ) -> WholeTable | RowShards:
        if placement == "local" and self.workers.num_workers > 1:
            raise ValueError(f"placement 'local' with {self.workers.num_workers} workers")
        is_sharded = placement == "row_sharded" and self.workers.num_workers > 1
        rows = -(-table.num_rows // self.workers.num_workers) if is_sharded else table.num_rows
        size = rows * OPTIMIZERS[self.learning.optimizer].bytes_per_row(table.dim)
        shape = table.num_rows, table.dim
        self._capacity.take(name, shape, size, is_sharded=is_sharded)
        placed = self._sharded(table) if is_sharded else self._whole(table)
        table.weight.requires_grad_(False)
        table.placement = placed
        return placed

    def _whole(self, table: EmbeddingTable) -> WholeTable:
        rows = table.initial_rows() if table.weight.is_meta else table.weight.detach()
        rows = rows.to(self.device)
        table.weight = nn.Parameter(rows)
        return WholeTable(rows, self._optimizer(rows), self.workers, self._queue)

    def _sharded(self, table: EmbeddingTable) -> RowShards:
        router = RowRouter(table.num_rows, self.workers)
        own = slice(router.begin, router.end)
        if table.weight.is_meta:
            rows = table.initial_rows(router.begin, router.end)
        else:
            rows = table.weight.detach()[own].clone()
        rows = rows.to(self.device)
        placed = RowShards(
            rows, self._optimizer(rows), router, exchange=self._exchange, due=self._queue
        )
        table.weight = nn.Parameter(placed.as_shard(rows), requires_grad=False)
        return placed

    def _optimizer(self, rows: Tensor) -> TableOptimizer:
        optimizer: TableOptimizer = OPTIMIZERS[self.learning.optimizer](rows, self.learning)
        return optimizer

    def _queue(self) -> None:
        """Let the tables learn when the whole backward pass is over."""
        if not self._is_due:
            self._is_due = True
            engine: Any = torch.autograd.Variable._execution_engine
            engine.queue_callback(self._collect)

    def _collect(self) -> None:
        self._is_due = False
        with torch.no_grad():
            self._exchange.bring_back()
            for placement in self._placements.values():
                placement.collect()


def tables_of(model: nn.Module) -> dict[str, EmbeddingTable]:
    """Return the tables of a model by name, the same in every process."""
    modules = model.named_modules()
    return {
        path.removesuffix(SUFFIX): module
        for path, module in modules
        if isinstance(module, EmbeddingTable)
    }


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def is_named(name: str, key: str) -> bool:
    """Tell whether a key is a table's name, or the end of its dotted path."""
    return f".{name}".endswith(f".{key}")


def placement_of(name: str, placements: Mapping[str, PlacementName]) -> PlacementName:
    """Return where a table goes: the longest key that is its name or the end of it wins."""
    keys = [key for key in placements if is_named(name, key)]
    return placements[max(keys, key=len) if keys else DEFAULT]
