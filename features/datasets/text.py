"""Delimited text files (CSV, `::`, `|`, tabs) as Arrow tables, in byte ranges of whole lines."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
from pyarrow import csv as arrow_csv

from cluster.errors import InputError

CHUNK_BYTES = 1 << 23
RANGE_BYTES = 1 << 28
MALFORMED = "malformed line"
NULLS = ["", "NaN", "nan", "NULL"]


@dataclass(frozen=True)
class TextFormat:
    """How a file is written, and the Arrow types of the columns that are wanted from it.

    `names` is None where the first line holds the names. Quoted line breaks are not supported.
    """

    types: Mapping[str, pa.DataType]
    delimiter: str = ","
    encoding: str = "utf-8"
    names: Sequence[str] | None = None


@dataclass(frozen=True)
class TextFile:
    """The whole lines that begin within `begin:end` bytes of one file."""

    path: Path
    format: TextFormat
    begin: int = 0
    end: int = 1 << 62

    def ranges(self) -> "list[TextFile]":
        """Split into parts that can be read at the same time."""
        end = min(self.end, self.path.stat().st_size)
        starts = range(self.begin, max(end, self.begin + 1), RANGE_BYTES)
        return [replace(self, begin=s, end=min(s + RANGE_BYTES, end)) for s in starts]

    def tables(self, max_rows: int) -> Iterator[tuple[pa.Table, int]]:
        """Yield tables of at most `max_rows` and the number of malformed lines before them.

        Raises:
            InputError: names the file and the column that is missing or does not parse.
        """
        names = self._names()
        for lines in self._chunks():
            table, malformed = self._parsed(lines, names)
            yield table.slice(0, max_rows), malformed
            for begin in range(max_rows, table.num_rows, max_rows):
                yield table.slice(begin, max_rows), 0

    def read(self) -> pa.Table:
        """Read everything; malformed lines are errors."""
        parts = list(self.tables(1 << 62))
        malformed = sum(count for _, count in parts)
        if malformed:
            raise InputError(f"{self.path}: {malformed} malformed lines")
        return pa.concat_tables([table for table, _ in parts]).combine_chunks()

    def _names(self) -> Sequence[str]:
        names = self.format.names or self._header()
        missing = [name for name in self.format.types if name not in names]
        if missing:
            raise InputError(f"{self.path}: missing column {missing[0]!r}, has {', '.join(names)}")
        return names

    def _header(self) -> Sequence[str]:
        with self.path.open(encoding=self.format.encoding, newline="") as file:
            try:
                return next(csv.reader([file.readline()], delimiter=self.format.delimiter), [])
            except (UnicodeDecodeError, csv.Error) as error:
                raise InputError(f"{self.path}: no header line: {error}") from None

    def _chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(max(self.begin - 1, 0))
            if self.begin or self.format.names is None:
                file.readline()
            is_empty = True
            while file.tell() < self.end:
                lines = file.read(min(CHUNK_BYTES, self.end - file.tell()))
                if not lines:
                    break
                yield lines if lines.endswith(b"\n") else lines + file.readline()
                is_empty = False
            if is_empty:
                yield b""

    def _parsed(self, lines: bytes, names: Sequence[str]) -> tuple[pa.Table, int]:
        types = self.format.types
        if not lines.strip():
            return pa.schema(list(types.items())).empty_table(), 0
        lines, delimiter = self._plain(lines)
        malformed = MalformedLines()
        try:
            table = arrow_csv.read_csv(
                io.BytesIO(lines),
                arrow_csv.ReadOptions(
                    column_names=list(names),
                    block_size=len(lines) + 1,
                ),
                arrow_csv.ParseOptions(
                    delimiter=delimiter,
                    quote_char='"' if delimiter == "," else False,
                    invalid_row_handler=malformed.skip,
                ),
                arrow_csv.ConvertOptions(
                    column_types=types,
                    include_columns=list(types),
                    null_values=NULLS,
                    strings_can_be_null=True,
                ),
            )
        except pa.ArrowInvalid as error:
            raise InputError(f"{self.path}: {error}") from None
        return table, malformed.count

    def _plain(self, lines: bytes) -> tuple[bytes, str]:
        """Return the lines in UTF-8 with a delimiter of one character."""
        delimiter = self.format.delimiter
        try:
            text = lines.decode(self.format.encoding)
        except UnicodeDecodeError as error:
            raise InputError(f"{self.path}: {error}") from None
        if len(delimiter) > 1:
            text, delimiter = text.replace(delimiter, "\t"), "\t"
        return text.encode(), delimiter


class MalformedLines:
    """Counts lines with the wrong number of fields while the reader skips them."""

    def __init__(self) -> None:
        self.count = 0

    def skip(self, line: object) -> str:
        """Count one line; the answer is what pyarrow's reader asks for."""
        self.count += 1
        return "skip"
