"""Which partition a user's events go to: a stable hash, the same on every machine and run."""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from cluster.errors import InputError

SLOTS = 256
"""Files that ingestion splits a source into; a partition is some of them, or a part of one."""
MAX_SPREAD = 4


def normalised_ids(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    """Return ids as int64 or string.

    Raises:
        InputError: the column is neither text nor whole numbers.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    raise InputError(f"{name} is {column.type}, not string or int64")


def hash_ids(ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each int64 or string id."""
    if pa.types.is_integer(ids.type):
        return _mixed(ids.to_numpy().astype(np.int64).view(np.uint64))
    encoded = ids.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    values = [zlib.crc32(value.encode()) for value in encoded.dictionary.to_pylist()]
    hashed = _mixed(np.asarray(values, dtype=np.uint64))
    indices: npt.NDArray[Any] = encoded.indices.to_numpy()
    return hashed[indices] if len(indices) else hashed


def count_partitions(slot_rows: npt.NDArray[np.int64], block_rows: int) -> int:
    """Return the number of partitions, a power of two, such that about `block_rows` fit in each.

    A user's events are never split, so a user with more than `block_rows` of them makes a larger
    partition: there are no more than MAX_SPREAD times the partitions that even users would need.

    Args:
        slot_rows: events by slot (SLOTS,).
        block_rows: events that a task may hold.
    """
    total = int(slot_rows.sum())
    partitions = 1
    while (
        _largest(slot_rows, partitions) > block_rows
        and partitions * block_rows < MAX_SPREAD * total
    ):
        partitions *= 2
    return partitions


def slots_of(partition: int, num_partitions: int) -> list[int]:
    """Return the slots that hold a partition's events, perhaps among others'."""
    step = min(num_partitions, SLOTS)
    return list(range(partition % step, SLOTS, step))


def _largest(slot_rows: npt.NDArray[np.int64], partitions: int) -> float:
    """Return the events of the largest partition; beyond SLOTS, slots are taken to split evenly."""
    step = min(partitions, SLOTS)
    return float(slot_rows.reshape(-1, step).sum(axis=0).max()) * step / partitions


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Scramble 64-bit values (splitmix64's finaliser)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
