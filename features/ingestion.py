"""First pass: sources of events into files by user hash, block by block."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import ipc

from cluster.errors import InputError
from features.datasets.adapter import Source
from features.partitions import SLOTS, hash_ids, normalised_ids
from features.workspace import Workspace

ORDER = "_order"
SOURCE_STRIDE = 1 << 40
"""Room for a source's rows in ORDER, so that it counts through all sources in their order."""


class Read(NamedTuple):
    """What the sources held."""

    slot_rows: npt.NDArray[np.int64]
    rejected: dict[str, int]
    last_ms: int


@dataclass(frozen=True)
class Ingestion:
    """Reads source i and writes `ingested/<i>/<slot>.arrow`, one record batch per block."""

    sources: Sequence[Source]
    workspace: Workspace
    block_rows: int

    def __call__(self, index: int) -> dict[str, Any]:
        """Return the counts of what was read."""
        rejected: Counter[str] = Counter()
        slot_rows = np.zeros(SLOTS, np.int64)
        last_ms = []
        with self.workspace.writing(f"ingested/{index:05d}") as folder, Slots(folder) as slots:
            for events, reasons in self.sources[index].blocks(self.block_rows):
                rejected.update(reasons)
                if not events.num_rows:
                    continue
                start = index * SOURCE_STRIDE + int(slot_rows.sum())
                block = canonical_block(events, start)
                slot_rows += slots.write(block)
                last_ms.append(int(block["timestamp"].to_numpy().max()))
        return {
            "slot_rows": slot_rows.tolist(),
            "rejected": dict(rejected),
            "last_ms": max(last_ms, default=None),
        }


def summed(results: Sequence[dict[str, Any]]) -> Read:
    """Add up what `Ingestion` returned for every source.

    Raises:
        InputError: there are no events.
    """
    rejected: Counter[str] = Counter()
    for result in results:
        rejected.update(result["rejected"])
    last_ms = [result["last_ms"] for result in results if result["last_ms"] is not None]
    if not last_ms:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in rejected.items())
        raise InputError(f"dataset: no events{f' (rejected: {reasons})' if reasons else ''}")
    slot_rows = np.sum([result["slot_rows"] for result in results], axis=0)
    return Read(slot_rows, dict(rejected), max(last_ms))


class Slots:
    """One open Arrow file per slot that has events."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[int, ipc.RecordBatchFileWriter] = {}
        self._open = ExitStack()

    def __enter__(self) -> "Slots":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def write(self, events: pa.Table) -> npt.NDArray[np.int64]:
        """Append a block; return how many of its rows went to each slot."""
        slots = (hash_ids(events["user_id"]) % np.uint64(SLOTS)).astype(np.int64)
        order = np.argsort(slots, kind="stable")
        grouped = events.take(pa.array(order)).combine_chunks()
        rows = np.bincount(slots, minlength=SLOTS).astype(np.int64)
        ends = np.cumsum(rows)
        for slot in np.flatnonzero(rows):
            part = grouped.slice(int(ends[slot] - rows[slot]), int(rows[slot]))
            self._writer(int(slot), events.schema).write_table(part)
        return rows

    def _writer(self, slot: int, schema: pa.Schema) -> ipc.RecordBatchFileWriter:
        if slot not in self._writers:
            path = str(self._folder / f"{slot:03d}.arrow")
            options = ipc.IpcWriteOptions(compression="lz4", unify_dictionaries=True)
            writer = ipc.new_file(path, schema, options=options)
            self._writers[slot] = self._open.enter_context(writer)
        return self._writers[slot]


def canonical_block(events: pa.Table, start: int) -> pa.Table:
    """Give events the canonical key types and number them from `start`."""
    for name in ("user_id", "item_id"):
        ids = normalised_ids(events[name], f"events.{name}")
        events = events.set_column(events.schema.get_field_index(name), name, ids)
    timestamps = events["timestamp"]
    if pa.types.is_timestamp(timestamps.type):
        timestamps = timestamps.cast(pa.timestamp("ms", timestamps.type.tz), safe=False)
    index = events.schema.get_field_index("timestamp")
    events = events.set_column(index, "timestamp", timestamps.cast(pa.int64()))
    order = np.arange(start, start + events.num_rows, dtype=np.int64)
    return events.append_column(ORDER, pa.array(order))
