"""Any adapter's data, checked against the tasks: what cannot be used is named or counted."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from cluster.errors import ConfigError, InputError
from features.config import TaskConfig
from features.datasets.adapter import Adapter, Block, Source

KEYS = ("user_id", "item_id", "timestamp")


class Checked:
    """An adapter whose events all have ids, an instant and finite labels.

    Raises:
        ConfigError: a task's column is missing or has a type that is no label.
    """

    def __init__(self, adapter: Adapter, tasks: Sequence[TaskConfig]) -> None:
        self.adapter = adapter
        self.tasks = tuple(tasks)
        for task in tasks:
            _check_column(task, adapter.schema)

    @property
    def has_time(self) -> bool:
        """False where `timestamp` only orders a user's events."""
        return self.adapter.has_time

    @property
    def schema(self) -> pa.Schema:
        """The columns of the events."""
        return self.adapter.schema

    def sources(self) -> Sequence[Source]:
        """Return the parts of the events."""
        return [CheckedSource(source, self.tasks) for source in self.adapter.sources()]

    def items(self) -> pa.Table | None:
        """Return the catalogue."""
        return self.adapter.items()

    def users(self) -> pa.Table | None:
        """Return what is known of the users."""
        return self.adapter.users()

    def identity(self) -> Sequence[tuple[str, int, int]]:
        """Return name, size and modification time of every file read."""
        return self.adapter.identity()


@dataclass(frozen=True)
class CheckedSource:
    """A source without the events that have no id, no instant or a label that is not finite."""

    source: Source
    tasks: tuple[TaskConfig, ...]

    def blocks(self, max_rows: int) -> Iterator[Block]:
        """Yield the usable events; a null label is a missing one and stays."""
        for events, rejected in self.source.blocks(max_rows):
            yield _usable(events, dict(rejected), self.tasks)


def _check_column(task: TaskConfig, schema: pa.Schema) -> None:
    if task.column not in schema.names:
        columns = [name for name in schema.names if name not in KEYS]
        close = difflib.get_close_matches(task.column, columns, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"has {', '.join(columns)}"
        raise ConfigError(f"tasks.{task.name}.column: no event column {task.column!r}; {hint}")
    kind = schema.field(task.column).type
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if not is_number and not (task.kind == "binary" and pa.types.is_boolean(kind)):
        wanted = "a number" if task.kind == "watch_time" else "bool or a number"
        raise ConfigError(
            f"tasks.{task.name}.column: event column {task.column!r} is {kind}, not {wanted}"
        )


def _usable(events: pa.Table, rejected: dict[str, int], tasks: Sequence[TaskConfig]) -> Block:
    for name in KEYS:
        events = _keep(events, pc.is_valid(events[name]), f"{name} missing", rejected)
    for task in tasks:
        column = events[task.column]
        if pa.types.is_floating(column.type):
            is_usable = pc.or_kleene(pc.is_null(column), pc.is_finite(column))
            events = _keep(events, is_usable, f"{task.column} not finite", rejected)
        if task.kind == "watch_time":
            is_usable = pc.fill_null(pc.greater_equal(events[task.column], 0), fill_value=True)
            events = _keep(events, is_usable, f"{task.column} negative", rejected)
        elif not pa.types.is_boolean(column.type):
            _check_binary(task, events[task.column])
    return Block(events, rejected)


def _keep(events: pa.Table, mask: pa.ChunkedArray, reason: str, counts: dict[str, int]) -> pa.Table:
    kept = pc.sum(mask).as_py() or 0
    if kept == events.num_rows:
        return events
    counts[reason] = counts.get(reason, 0) + events.num_rows - kept
    return events.filter(mask)


def _check_binary(task: TaskConfig, column: pa.ChunkedArray) -> None:
    values = pc.unique(pc.drop_null(column)).to_pylist()
    other = next((value for value in values if value not in (0, 1)), None)
    if other is not None:
        raise InputError(
            f"tasks.{task.name}: event column {task.column!r} holds {other}, "
            "a binary task needs 0 and 1"
        )
