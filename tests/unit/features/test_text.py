"""Text files are read whole, in any byte ranges, and refused by name."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.errors import InputError
from features.datasets.text import TextFile, TextFormat

FORMAT = TextFormat({"key": pa.int64(), "name": pa.string()})


def write(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_bytes(text.encode())
    return path


@given(
    names=st.lists(st.text("abcé ", max_size=12), max_size=30),
    cuts=st.lists(st.integers(0, 400), max_size=5),
    max_rows=st.integers(1, 9),
    ends_with_newline=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_byte_ranges_hold_every_line_exactly_once(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[str],
    cuts: list[int],
    max_rows: int,
    ends_with_newline: bool,
) -> None:
    lines = ["key,name", *(f"{key},{name}" for key, name in enumerate(names))]
    text = "\n".join(lines) + ("\n" if ends_with_newline else "")
    path = write(tmp_path_factory.mktemp("text"), text)
    borders = sorted({0, *(min(cut, len(text.encode())) for cut in cuts), len(text.encode())})
    keys: list[int] = []
    for begin, end in zip(borders, borders[1:], strict=False):
        for table, malformed in TextFile(path, FORMAT, begin, end).tables(max_rows):
            assert table.num_rows <= max_rows
            assert malformed == 0
            keys += table["key"].to_pylist()
    assert keys == list(range(len(names)))


@given(content=st.binary(max_size=200))
@settings(max_examples=80, deadline=None)
def test_any_bytes_are_read_or_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("text") / "noise.csv"
    path.write_bytes(b"key,name\n" + content)
    problem = ""
    try:
        list(TextFile(path, FORMAT).tables(10))
    except InputError as error:
        problem = str(error)
    assert not problem or "noise.csv" in problem


def test_lines_with_too_few_fields_are_skipped_and_counted(tmp_path: Path) -> None:
    path = write(tmp_path, "key,name\n1,a\n2\n3,c,d\n4,e\n")
    ((table, malformed),) = TextFile(path, FORMAT).tables(10)
    assert table["key"].to_pylist() == [1, 4]
    assert malformed == 2


def test_a_table_that_must_be_whole_refuses_malformed_lines(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table\.csv: 1 malformed"):
        TextFile(write(tmp_path, "key,name\n1,a\n2\n"), FORMAT).read()


def test_quoted_separators_and_absent_values_are_read(tmp_path: Path) -> None:
    table = TextFile(write(tmp_path, 'name,extra,key\n"a, b",x,1\n,y,\n'), FORMAT).read()
    assert table.to_pylist() == [{"key": 1, "name": "a, b"}, {"key": None, "name": None}]


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table\.csv: missing column 'name', has key, title"):
        TextFile(write(tmp_path, "key,title\n1,a\n"), FORMAT).read()


def test_a_value_of_the_wrong_type_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"table\.csv: .*int64.*'seven'"):
        TextFile(write(tmp_path, "key,name\nseven,a\n"), FORMAT).read()


def test_a_header_without_lines_is_an_empty_table(tmp_path: Path) -> None:
    table = TextFile(write(tmp_path, "key,name\n"), FORMAT).read()
    assert table.num_rows == 0
    assert table.schema.types == [pa.int64(), pa.string()]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing column 'key'"):
        TextFile(write(tmp_path, ""), FORMAT).read()


def test_two_character_delimiters_and_latin_1_are_read(tmp_path: Path) -> None:
    path = tmp_path / "movies.dat"
    path.write_bytes("1::Les Misérables: part 1::x\n2::Amélie::y\n".encode("latin-1"))
    types = {"key": pa.int64(), "name": pa.string()}
    format_ = TextFormat(types, delimiter="::", encoding="latin-1", names=("key", "name", "z"))
    names = TextFile(path, format_).read()["name"].to_pylist()
    assert names == ["Les Misérables: part 1", "Amélie"]
