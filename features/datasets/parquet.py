"""The canonical tables as Parquet files: `events`, and optionally `items` and `users`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
from pyarrow import dataset as arrow_dataset
from pyarrow import fs

from cluster.errors import InputError
from features.config import DatasetConfig
from features.datasets.adapter import Block, Source

UTC_MS = pa.timestamp("ms", tz="UTC")
KEYS = ("user_id", "item_id", "timestamp")


class Parquet:
    """Reads `<path>/<table>.parquet`, a file or a folder of files; `path` may be a URI.

    A `timestamp` of integers is an order without time; naive timestamps are UTC.

    Raises:
        InputError: the events, a required column or a usable type is missing.
    """

    def __init__(self, config: DatasetConfig) -> None:
        assert config.path is not None
        self.path = config.path
        self.filesystem, self.folder = _opened(config.path)
        where = f"{self.path}/events.parquet"
        events = self._dataset("events")
        if events is None:
            raise InputError(f"{where}: missing file")
        if not events.files or not events.count_rows():
            raise InputError(f"{where}: empty dataset: no events")
        _require(where, events.schema, KEYS)
        self.events = events
        self.schema = _canonical_schema(where, events.schema)

    @property
    def has_time(self) -> bool:
        """False where `timestamp` is an integer."""
        return bool(pa.types.is_timestamp(self.schema.field("timestamp").type))

    def sources(self) -> Sequence[Source]:
        """Return the row groups of every file."""
        fragments = sorted(self.events.get_fragments(), key=lambda fragment: str(fragment.path))
        groups = [group for fragment in fragments for group in fragment.split_by_row_group()]
        return [RowGroup(group, self.schema) for group in groups if group.row_groups]

    def items(self) -> pa.Table | None:
        """Return the catalogue; None where there is no such file."""
        return self._entities("items", "item_id")

    def users(self) -> pa.Table | None:
        """Return what is known of the users; None where there is no such file."""
        return self._entities("users", "user_id")

    def identity(self) -> Sequence[tuple[str, int, int]]:
        """Return name, size and modification time of every file read."""
        tables = [self._dataset(name) for name in ("events", "items", "users")]
        paths = [path for table in tables if table is not None for path in table.files]
        infos = self.filesystem.get_file_info(paths)
        return [(info.path, info.size, info.mtime_ns or 0) for info in infos]

    def _dataset(self, name: str) -> arrow_dataset.Dataset | None:
        path = f"{self.folder}/{name}.parquet"
        if self.filesystem.get_file_info(path).type == fs.FileType.NotFound:
            return None
        try:
            return arrow_dataset.dataset(path, format="parquet", filesystem=self.filesystem)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{self.path}/{name}.parquet: {error}") from None

    def _entities(self, name: str, key: str) -> pa.Table | None:
        dataset = self._dataset(name)
        if dataset is None:
            return None
        where = f"{self.path}/{name}.parquet"
        _require(where, dataset.schema, (key,))
        schema = _canonical_schema(where, dataset.schema)
        kind, event_kind = schema.field(key).type, self.schema.field(key).type
        if kind != event_kind:
            raise InputError(f"{where}: {key} is {kind}, but {event_kind} in events.parquet")
        try:
            return _canonical(dataset.to_table(), schema, where)
        except OSError as error:
            raise InputError(f"{where}: {error}") from None


@dataclass(frozen=True)
class RowGroup:
    """One row group of an events file."""

    fragment: arrow_dataset.ParquetFileFragment
    schema: pa.Schema

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Yield the row group's events."""
        path = str(self.fragment.path)
        try:
            for batch in self.fragment.to_batches(batch_size=max_rows, batch_readahead=1):
                _require(path, batch.schema, self.schema.names)
                yield Block(_canonical(pa.Table.from_batches([batch]), self.schema, path), {})
        except OSError as error:
            raise InputError(f"{path}: {error}") from None


def _opened(path: str) -> tuple[fs.FileSystem, str]:
    try:
        filesystem, folder = fs.FileSystem.from_uri(path) if "://" in path else _local(path)
        info = filesystem.get_file_info(folder)
    except (OSError, ValueError) as error:
        raise InputError(f"dataset.path: cannot open {path!r}: {error}") from None
    if info.type == fs.FileType.File:
        raise InputError(f"dataset.path: is a file, not a folder: {path}")
    if info.type == fs.FileType.NotFound:
        raise InputError(f"dataset.path: no such folder: {path}")
    return filesystem, folder.rstrip("/")


def _local(path: str) -> tuple[fs.FileSystem, str]:
    return fs.LocalFileSystem(), path


def _require(where: str, schema: pa.Schema, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in schema.names]
    if missing:
        raise InputError(f"{where}: missing column {missing[0]!r}, has {', '.join(schema.names)}")


def _canonical_schema(where: str, schema: pa.Schema) -> pa.Schema:
    """Return the schema with canonical types for ids and instants and plain strings."""
    return pa.schema([(field.name, _canonical_type(where, field)) for field in schema])


def _canonical_type(where: str, field: pa.Field) -> pa.DataType:
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    is_string = _is_string(kind)
    if field.name in ("user_id", "item_id"):
        if not is_string and not pa.types.is_integer(kind):
            raise InputError(f"{where}: {field.name} is {kind}, not string or integer")
        return pa.string() if is_string else pa.int64()
    if field.name == "timestamp" and not pa.types.is_timestamp(kind):
        if not pa.types.is_integer(kind):
            raise InputError(f"{where}: timestamp is {kind}, not a timestamp or integer")
        return pa.int64()
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return UTC_MS
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    if is_list and _is_string(kind.value_type):
        return pa.list_(pa.string())
    return pa.string() if is_string else kind


def _is_string(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _canonical(table: pa.Table, schema: pa.Schema, where: str) -> pa.Table:
    try:
        columns = [_cast(table[field.name], field.type) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{where}: {error}") from None
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Cast, cutting instants to milliseconds; naive ones are UTC."""
    if kind != UTC_MS:
        return column.cast(kind)
    zone = None if pa.types.is_date(column.type) else column.type.tz
    return column.cast(pa.timestamp("ms", zone), safe=False).cast(pa.int64()).cast(UTC_MS)
