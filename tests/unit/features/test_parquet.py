"""The canonical tables are read from Parquet, and refused by name."""

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import InputError
from features.config import DatasetConfig
from features.datasets.parquet import Parquet

START = datetime(2024, 1, 1, tzinfo=UTC)


def events(rows: int = 6) -> pa.Table:
    instants = [START + timedelta(minutes=i) for i in range(rows)]
    return pa.table(
        {
            "user_id": [f"u{i % 2}" for i in range(rows)],
            "item_id": list(range(rows)),
            "timestamp": pa.array(instants, pa.timestamp("us", tz="UTC")),
            "click": [i % 3 == 0 for i in range(rows)],
            "surface": pa.array(["feed"] * rows).dictionary_encode(),
        }
    )


def opened(folder: Path | str) -> Parquet:
    return Parquet(DatasetConfig(format="parquet", path=str(folder)))


def read(adapter: Parquet, max_rows: int = 1_000) -> pa.Table:
    blocks = [block for source in adapter.sources() for block in source.blocks(max_rows)]
    assert all(block.events.num_rows <= max_rows for block in blocks)
    return pa.concat_tables([block.events for block in blocks])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pq.write_table(events(), tmp_path / "events.parquet", row_group_size=2)
    return tmp_path


def test_events_come_in_canonical_types(folder: Path) -> None:
    adapter = opened(folder)
    table = read(adapter)
    assert table.schema == adapter.schema
    assert [str(kind) for kind in table.schema.types] == [
        "string",
        "int64",
        "timestamp[ms, tz=UTC]",
        "bool",
        "string",
    ]
    assert table["timestamp"][1].as_py() == START + timedelta(minutes=1)
    assert adapter.has_time


def test_every_row_group_is_a_source_that_travels(folder: Path) -> None:
    sources = pickle.loads(pickle.dumps(opened(folder).sources()))
    assert [sum(b.events.num_rows for b in source.blocks(1)) for source in sources] == [2, 2, 2]


@given(
    rows=st.integers(1, 40),
    files=st.integers(1, 3),
    group=st.integers(1, 9),
    max_rows=st.integers(1, 9),
)
@settings(max_examples=25, deadline=None)
def test_files_groups_and_blocks_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, rows: int, files: int, group: int, max_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("parquet")
    (folder / "events.parquet").mkdir()
    step = -(-rows // files)
    for part, begin in enumerate(range(0, rows, step)):
        path = folder / "events.parquet" / f"{part}.parquet"
        pq.write_table(events(rows).slice(begin, step), path, row_group_size=group)
    assert read(opened(folder), max_rows)["item_id"].to_pylist() == list(range(rows))


def test_integers_as_timestamps_are_an_order_without_time(tmp_path: Path) -> None:
    table = events().set_column(2, "timestamp", pa.array(range(6), pa.int32()))
    pq.write_table(table, tmp_path / "events.parquet")
    adapter = opened(tmp_path)
    assert not adapter.has_time
    assert read(adapter)["timestamp"].to_pylist() == list(range(6))


def test_naive_and_nanosecond_timestamps_are_utc_milliseconds(tmp_path: Path) -> None:
    instants = pa.array([1_700_000_000_123_456_789] * 6, pa.timestamp("ns"))
    pq.write_table(events().set_column(2, "timestamp", instants), tmp_path / "events.parquet")
    table = read(opened(tmp_path))
    assert table["timestamp"].cast(pa.int64())[0].as_py() == 1_700_000_000_123


def test_what_polars_writes_is_read(tmp_path: Path) -> None:
    pl.DataFrame(events()).write_parquet(tmp_path / "events.parquet")
    items = pl.DataFrame({"item_id": [0, 1], "tags": [["a", "b"], []], "topic": ["x", None]})
    items.write_parquet(tmp_path / "items.parquet")
    table = opened(tmp_path).items()
    assert table is not None
    assert table.schema.field("tags").type == pa.list_(pa.string())
    assert table.schema.field("topic").type == pa.string()


def test_absent_items_and_users_are_none(folder: Path) -> None:
    assert opened(folder).items() is None
    assert opened(folder).users() is None


def test_publishing_dates_become_instants(folder: Path) -> None:
    dates = pa.array([datetime(2024, 1, 2, tzinfo=UTC).date()] * 2, pa.date32())
    pq.write_table(pa.table({"item_id": [0, 1], "published_at": dates}), folder / "items.parquet")
    table = opened(folder).items()
    assert table is not None
    assert table["published_at"][0].as_py() == datetime(2024, 1, 2, tzinfo=UTC)


def test_a_path_may_be_a_uri(folder: Path) -> None:
    assert read(opened(folder.as_uri())).num_rows == 6


def test_the_identity_names_every_file(folder: Path) -> None:
    pq.write_table(pa.table({"user_id": ["u0"]}), folder / "users.parquet")
    names = [Path(name).name for name, _, _ in opened(folder).identity()]
    assert names == ["events.parquet", "users.parquet"]


def test_a_missing_events_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"events\.parquet: missing file"):
        opened(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.path: no such folder: .*absent"):
        opened(tmp_path / "absent")


def test_a_file_as_path_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.path: is a file"):
        opened(folder / "events.parquet")


@pytest.mark.parametrize("column", ["user_id", "item_id", "timestamp"])
def test_a_missing_column_is_named(tmp_path: Path, column: str) -> None:
    pq.write_table(events().drop_columns([column]), tmp_path / "events.parquet")
    with pytest.raises(InputError, match=rf"events\.parquet: missing column '{column}'"):
        opened(tmp_path)


def test_a_column_missing_from_one_of_several_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "events.parquet").mkdir()
    pq.write_table(events(), tmp_path / "events.parquet" / "0.parquet")
    pq.write_table(events().drop_columns(["click"]), tmp_path / "events.parquet" / "1.parquet")
    with pytest.raises(InputError, match=r"1\.parquet: missing column 'click'"):
        read(opened(tmp_path))


def test_a_type_that_differs_between_files_is_named(tmp_path: Path) -> None:
    (tmp_path / "events.parquet").mkdir()
    pq.write_table(events(), tmp_path / "events.parquet" / "0.parquet")
    flags = events().set_column(1, "item_id", pa.array(["x"] * 6))
    pq.write_table(flags, tmp_path / "events.parquet" / "1.parquet")
    with pytest.raises(InputError, match=r"1\.parquet: .*'x'"):
        read(opened(tmp_path))


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (0, [0.5] * 6, "user_id is double, not string or integer"),
        (1, [True] * 6, "item_id is bool, not string or integer"),
        (2, ["noon"] * 6, "timestamp is string, not a timestamp or integer"),
    ],
)
def test_a_wrong_type_is_named(
    tmp_path: Path, column: int, values: list[object], message: str
) -> None:
    table = events()
    wrong = table.set_column(column, table.schema.names[column], pa.array(values))
    pq.write_table(wrong, tmp_path / "events.parquet")
    with pytest.raises(InputError, match=message):
        opened(tmp_path)


@pytest.mark.parametrize("is_folder", [True, False])
def test_an_empty_dataset_is_refused(tmp_path: Path, is_folder: bool) -> None:
    if is_folder:
        (tmp_path / "events.parquet").mkdir()
    else:
        pq.write_table(events(0), tmp_path / "events.parquet")
    with pytest.raises(InputError, match=r"events\.parquet: empty dataset"):
        opened(tmp_path)


@given(content=st.binary(max_size=64))
@settings(max_examples=20, deadline=None)
def test_a_file_that_is_no_parquet_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    (folder / "events.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"events\.parquet"):
        opened(folder)


def test_a_truncated_file_is_refused_by_name(folder: Path) -> None:
    whole = (folder / "events.parquet").read_bytes()
    (folder / "events.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"events\.parquet"):
        opened(folder)


def test_items_must_have_the_type_of_ids_that_events_have(folder: Path) -> None:
    pq.write_table(pa.table({"item_id": ["a", "b"]}), folder / "items.parquet")
    with pytest.raises(InputError, match="item_id is string, but int64 in events"):
        opened(folder).items()
