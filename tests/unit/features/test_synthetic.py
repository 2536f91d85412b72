"""The synthetic world as a data set: streams that do not depend on how they are read."""

import pickle
from itertools import pairwise

import pyarrow as pa
import pytest

from features.config import DatasetConfig, TaskConfig
from features.datasets.registry import open_dataset
from features.datasets.synthetic import Chunks, Synthetic

CONFIG = DatasetConfig(format="synthetic", users=300, items=200, events=20_000, seed=4)


def read(adapter: Synthetic, max_rows: int) -> pa.Table:
    sources = pickle.loads(pickle.dumps(adapter.sources()))
    blocks = [block.events for source in sources for block in source.blocks(max_rows)]
    assert all(block.num_rows <= max_rows for block in blocks)
    return pa.concat_tables(blocks).combine_chunks()


@pytest.mark.parametrize("max_rows", [1_000, 7_777])
def test_the_block_size_changes_nothing(max_rows: int) -> None:
    assert read(Synthetic(CONFIG), max_rows).equals(read(Synthetic(CONFIG), 1 << 30))


def test_large_worlds_have_several_sources_that_cover_every_chunk_once() -> None:
    config = DatasetConfig(format="synthetic", users=50_000, items=100, events=5_000_000)
    sources = Synthetic(config).sources()
    chunks = [source for source in sources if isinstance(source, Chunks)]
    assert len(chunks) >= 4
    assert (chunks[0].begin, chunks[-1].end) == (0, chunks[0].world.num_chunks)
    assert all(left.end == right.begin for left, right in pairwise(chunks))


def test_a_source_is_small_to_send() -> None:
    config = DatasetConfig(format="synthetic", users=50_000, items=500_000, events=5_000_000)
    assert len(pickle.dumps(Synthetic(config).sources())) < 5_000


def test_events_refer_to_the_items_and_users_of_the_tables() -> None:
    adapter = Synthetic(CONFIG)
    events, items, users = read(adapter, 10_000), adapter.items(), adapter.users()
    assert items is not None
    assert users is not None
    assert set(events["item_id"].to_pylist()) <= set(items["item_id"].to_pylist())
    assert users["user_id"].to_pylist() == list(range(1, 301))
    assert len(set(items["title"].to_pylist())) > 150
    assert all(title[0] == title[0].upper() for title in items["title"].to_pylist())


def test_it_opens_by_its_format_and_rejects_nothing() -> None:
    adapter = open_dataset(CONFIG, [TaskConfig(name="click", column="click")])
    blocks = [block for source in adapter.sources() for block in source.blocks(5_000)]
    assert adapter.has_time
    assert not any(block.rejected for block in blocks)
    assert sum(block.events.num_rows for block in blocks) == pytest.approx(20_000, rel=0.02)
