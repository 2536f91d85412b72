"""Users go to partitions by a hash that is the same everywhere."""

import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import InputError
from features.partitions import SLOTS, count_partitions, hash_ids, normalised_ids, slots_of


def splitmix64(value: int) -> int:
    """Steele et al. 2014, one step, in plain integers."""
    value = (value + 0x9E3779B97F4A7C15) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_number_hashes_are_splitmix64(ids: list[int]) -> None:
    """A user's partition must not depend on machine, library version or run."""
    hashes = hash_ids(pa.chunked_array([pa.array(ids, pa.int64())]))
    assert hashes.tolist() == [splitmix64(value % 2**64) for value in ids]


@given(st.lists(st.text()))
def test_text_hashes_are_those_of_the_crc(ids: list[str]) -> None:
    hashes = hash_ids(pa.chunked_array([pa.array(ids, pa.string())]))
    assert hashes.tolist() == [splitmix64(zlib.crc32(value.encode())) for value in ids]


@given(st.lists(st.text()), st.integers(0, 10))
def test_a_hash_depends_on_the_id_alone(ids: list[str], cut: int) -> None:
    whole = hash_ids(pa.chunked_array([ids], pa.string()))
    parts = hash_ids(pa.chunked_array([ids[:cut], ids[cut:]], pa.string()))
    assert whole.tolist() == parts.tolist()


def test_users_spread_evenly() -> None:
    slots = hash_ids(pa.chunked_array([np.arange(256_000)])) % np.uint64(SLOTS)
    assert np.bincount(slots.astype(int), minlength=SLOTS).min() > 800


def test_small_data_is_one_partition() -> None:
    assert count_partitions(np.full(SLOTS, 10), 10 * SLOTS) == 1


@pytest.mark.parametrize("block_rows", [50_000, 10_000, 600, 100])
def test_partitions_fit_a_block(block_rows: int) -> None:
    slot_rows = np.random.default_rng(0).integers(300, 500, SLOTS)
    partitions = count_partitions(slot_rows, block_rows)
    assert partitions & (partitions - 1) == 0
    if partitions <= SLOTS:
        sizes = [slot_rows[slots_of(p, partitions)].sum() for p in range(partitions)]
        assert sum(sizes) == slot_rows.sum()
        assert block_rows / 4 < max(sizes) <= block_rows
    else:
        assert slot_rows.max() * SLOTS / partitions <= block_rows


def test_one_user_with_most_events_does_not_scatter_the_others() -> None:
    slot_rows = np.full(SLOTS, 10)
    slot_rows[17] = 1_000_000
    assert count_partitions(slot_rows, 100_000) <= 64


def test_partitions_beyond_the_slots_read_the_slot_that_holds_them() -> None:
    assert slots_of(SLOTS + 3, 4 * SLOTS) == [3]


def test_ids_are_text_or_whole_numbers() -> None:
    assert normalised_ids(pa.chunked_array([pa.array([1], pa.int16())]), "x").type == pa.int64()
    coded = pa.chunked_array([pa.array(["a", "b"]).dictionary_encode()])
    assert normalised_ids(coded, "x").to_pylist() == ["a", "b"]
    with pytest.raises(InputError, match=r"events\.user_id is double"):
        normalised_ids(pa.chunked_array([[1.5]]), "events.user_id")
