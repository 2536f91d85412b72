"""A snapshot: what one worker writes of a training's state, taken between two steps."""

import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata, MetadataIndex
from torch.distributed.checkpoint.planner import SavePlan, WriteItem, WriteItemType

from train.peers import Peers
from train.proven_files import ProvenFiles
from train.state import State, facts_name, parted, saved_facts

CHUNK_BYTES = 32 * 2**20
"""Tensors are written in chunks of rows, so that nobody holds a second whole one in memory."""
ROOM_SHARE = 0.5
"""Of the free memory of a machine; the rest is for the steps that go on meanwhile."""


class Snapshot(DefaultSavePlanner):
    """This worker's share of a state: its shards, and its part of what all workers hold.

    Args:
        state: of the training; tensors that are no DTensor are the same on every worker.
        rank: of this worker.
        num_workers: that share the state.
        room_bytes: memory that a copy may take. Without a copy (see `is_copy`) the state must not
            change until it is written.
        chunk_bytes: about how much of a tensor is written at once.
    """

    def __init__(
        self,
        state: State,
        rank: int,
        num_workers: int,
        *,
        room_bytes: float = math.inf,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)
        tensors, facts = parted(state)
        self.set_up_planner(tensors)
        self.facts = saved_facts(facts)
        self.best_epoch: int = state["position"]["best_epoch"]
        self.loads = [0] * num_workers
        self.chunks: dict[MetadataIndex, torch.Tensor] = {}
        self.items: list[WriteItem] = []
        for item in super().create_local_plan().items:
            whole = super().lookup_object(item.index)
            for chunk, rows in _chunks(item, whole, chunk_bytes):
                if item.type == WriteItemType.SHARD or self._taker(rows) == rank:
                    self.items.append(chunk)
                    self.chunks[chunk.index] = rows
        self.is_copy = sum(rows.nbytes for rows in self.chunks.values()) <= room_bytes
        if self.is_copy:
            self.chunks = {key: rows.to("cpu", copy=True) for key, rows in self.chunks.items()}

    def create_local_plan(self) -> SavePlan:
        """Return what was planned when the snapshot was taken."""
        return SavePlan(self.items)

    def lookup_object(self, index: MetadataIndex) -> torch.Tensor:
        """Return a chunk."""
        return self.chunks[index]

    def write(self, files: ProvenFiles, folder: str, peers: Peers) -> None:
        """Write this worker's share into a folder; every worker does, in any thread.

        The steps of torch.distributed.checkpoint.save, with exchanges that need no group where
        there is one worker.
        """
        writer = FileSystemWriter(folder, sync_files=False)
        writer.fs, writer.path = files, folder  # type: ignore[assignment]
        writer.set_up_storage_writer(peers.rank == 0, rank=peers.rank)
        plans = peers.all(writer.prepare_local_plan(self.create_local_plan()))
        plans, metadata = self.create_global_plan(plans)
        plan = self.finish_plan(writer.prepare_global_plan(plans)[peers.rank])
        results = peers.all(writer.write_data(plan, self).wait())
        if peers.rank == 0:
            writer.finish(metadata, results)
        with files.create_stream(files.concat_path(folder, facts_name(peers.rank)), "wb") as file:
            file.write(self.facts)

    def _taker(self, rows: torch.Tensor) -> int:
        """Return which worker writes a chunk that all of them hold: the one with least so far."""
        taker = self.loads.index(min(self.loads))
        self.loads[taker] += max(rows.nbytes, 1)
        return taker


def _chunks(
    item: WriteItem, tensor: torch.Tensor, chunk_bytes: int
) -> Iterator[tuple[WriteItem, torch.Tensor]]:
    """Cut what is to be written into chunks of rows."""
    assert item.tensor_data is not None
    tensor = tensor.detach()
    offsets = item.tensor_data.chunk.offsets
    num_rows = len(tensor) if tensor.ndim else 1
    step = max(chunk_bytes * num_rows // max(tensor.nbytes, 1), 1)
    for start in range(0, max(num_rows, 1), step):
        rows = tensor[start : start + step] if tensor.ndim else tensor
        where = torch.Size([offsets[0] + start, *offsets[1:]]) if tensor.ndim else offsets
        data = replace(item.tensor_data, chunk=ChunkStorageMetadata(where, rows.size()))
        index = MetadataIndex(item.index.fqn, where)
        yield WriteItem(index, WriteItemType.SHARD, tensor_data=data), rows
