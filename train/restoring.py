"""Reads back what snapshots wrote, into any number of workers."""

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from train.proven_files import ProvenFiles
from train.state import State, Tensors, facts_name, joined, loaded_facts, parted


def restore_state(files: ProvenFiles, folder: str, state: State, rank: int) -> State:
    """Read a whole state; no worker waits for another.

    Args:
        files: of the storage.
        folder: that snapshots were written into.
        state: a part of it, whose tensors are read in place, of a DTensor this worker's shard; all
            other tensors are made whole.
        rank: of the worker that wrote the facts to be read.
    """
    reader = _Reader(files, folder)
    with files.create_stream(f"{folder}/{facts_name(rank)}", "rb") as stream:
        facts = loaded_facts(stream.read())
    given, _ = parted(state)
    tensors = {**reader.made(given), **given}
    reader.read(tensors)
    return joined(tensors, facts)


def restore_part(files: ProvenFiles, folder: str, state: State) -> None:
    """Read a part of a state in place."""
    given, _ = parted(state)
    _Reader(files, folder).read(given)


class _Reader:
    def __init__(self, files: ProvenFiles, folder: str) -> None:
        self.reader = FileSystemReader(folder)
        self.reader.fs, self.reader.path = files, folder  # type: ignore[assignment]
        self.metadata: Metadata = self.reader.read_metadata()

    def made(self, given: Tensors) -> Tensors:
        """Make the tensors that are not given."""
        return {
            name: torch.empty(facts.size, dtype=facts.properties.dtype)
            for name, facts in self.metadata.state_dict_metadata.items()
            if isinstance(facts, TensorStorageMetadata) and name not in given
        }

    def read(self, tensors: Tensors) -> None:
        planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
        planner.set_up_planner(tensors, self.metadata)
        self.reader.set_up_storage_reader(self.metadata, is_coordinator=False)
        plan = self.reader.prepare_local_plan(planner.create_local_plan())
        self.reader.read_data(planner.finish_plan(plan), planner).wait()
