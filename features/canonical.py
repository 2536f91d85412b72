"""One partition of events in canonical form: each once, by user and time, with its split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
from pyarrow import ipc

from features.config import TaskConfig
from features.ingestion import ORDER
from features.partitions import SLOTS, hash_ids, slots_of
from features.rates import label_sums
from features.workspace import Workspace

KEYS = ["user_id", "timestamp", "item_id"]


@dataclass(frozen=True)
class Ingested:
    """What the first pass left behind, by partition."""

    workspace: Workspace
    num_sources: int
    num_partitions: int

    def events(self, partition: int) -> tuple[pl.DataFrame, int]:
        """Return a partition's distinct events by user, time and original order.

        Returns:
            The events, and how many exact duplicates were dropped.
        """
        tables = list(self._tables(partition))
        if not tables:
            return pl.DataFrame(), 0
        table = pa.concat_tables(tables)
        events = pl.DataFrame(table).sort("user_id", "timestamp", ORDER)
        unique = without_duplicates(events)
        return unique.drop(ORDER), events.height - unique.height

    def _tables(self, partition: int) -> Iterator[pa.Table]:
        for source in range(self.num_sources):
            for slot in slots_of(partition, self.num_partitions):
                yield from self._batches(source, slot, partition)

    def _batches(self, source: int, slot: int, partition: int) -> Iterator[pa.Table]:
        path = self.workspace.reading(f"ingested/{source:05d}") / f"{slot:03d}.arrow"
        if not path.exists():
            return
        with pa.memory_map(str(path)) as file:
            reader = ipc.open_file(file)
            for index in range(reader.num_record_batches):
                batch = pa.Table.from_batches([reader.get_batch(index)])
                if self.num_partitions > SLOTS:
                    hashes = hash_ids(batch["user_id"]) % np.uint64(self.num_partitions)
                    batch = batch.filter(pa.array(hashes == np.uint64(partition)))
                yield batch


def without_duplicates(events: pl.DataFrame) -> pl.DataFrame:
    """Keep the first of events that agree in every column but ORDER."""
    is_suspect = events.select(KEYS).is_duplicated()
    if not is_suspect.any():
        return events
    others = [name for name in events.columns if name != ORDER]
    suspects = events.filter(is_suspect)
    first = suspects.unique(subset=others, keep="first", maintain_order=True)
    extra = suspects.join(first.select(ORDER), on=ORDER, how="anti")
    return events.join(extra.select(ORDER), on=ORDER, how="anti", maintain_order="left")


def label_matrix(events: pl.DataFrame, tasks: Sequence[TaskConfig]) -> npt.NDArray[np.float32]:
    """Return labels (n, tasks), NaN where missing."""
    columns = [
        events[task.column].cast(pl.Float32).fill_null(float("nan")).to_numpy() for task in tasks
    ]
    return np.stack(columns, axis=1).astype(np.float32)


def count_columns(
    labels: npt.NDArray[np.float32], tasks: Sequence[TaskConfig]
) -> npt.NDArray[np.float64]:
    """Return what each event adds to its entities' counts: one impression and its label sums."""
    sums = label_sums(labels, [task.kind for task in tasks])
    return np.column_stack([np.ones(len(labels)), sums]).astype(np.float64)
