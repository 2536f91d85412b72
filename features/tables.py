"""The catalogue and the users as canonical tables, each id once."""

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from cluster.errors import InputError
from features.columns import Schemas
from features.datasets.adapter import Adapter
from features.partitions import hash_ids, normalised_ids
from features.workspace import Workspace


class Tables(NamedTuple):
    """Items and users as Arrow tables, and how many of their rows were left out, by reason."""

    items: pa.Table | None
    users: pa.Table | None
    rejected: dict[str, int]


def open_tables(adapter: Adapter) -> Tables:
    """Read items and users; a row without an id, or with one seen before, is left out.

    Raises:
        InputError: ids that cannot be ids, or of another type than those of the events.
    """
    rejected: dict[str, int] = {}
    items = _usable(adapter.items(), "item", adapter.schema, rejected)
    users = _usable(adapter.users(), "user", adapter.schema, rejected)
    return Tables(items, users, rejected)


def schemas_of(adapter: Adapter, tables: Tables) -> Schemas:
    """Return the columns of all three tables."""
    none = pa.schema([])
    return Schemas(
        adapter.schema,
        none if tables.items is None else tables.items.schema,
        none if tables.users is None else tables.users.schema,
    )


def save_users_by_partition(users: pa.Table, num_partitions: int, workspace: Workspace) -> None:
    """Write `users/<p>/users.parquet`: each partition's users with their attributes."""
    partitions = hash_ids(users["user_id"]) % np.uint64(num_partitions)
    frame = pl.DataFrame(users)
    for partition in range(num_partitions):
        chosen = frame.filter(pl.Series(partitions == np.uint64(partition)))
        with workspace.writing(f"users/{partition:05d}") as folder:
            chosen.write_parquet(folder / "users.parquet")


def catalogue_table(
    items: pa.Table | None, shown: pl.Series, kept: pl.Series | None
) -> pl.DataFrame:
    """Return the catalogue: the items table, then items that only events know, by id.

    Args:
        items: the items table.
        shown: ids that occur in events, each once.
        kept: the ids to keep where items need a number of events; None keeps all.

    Raises:
        InputError: no item is left.
    """
    table = pl.DataFrame({"item_id": shown.clear()}) if items is None else pl.DataFrame(items)
    extra = pl.DataFrame({"item_id": shown}).join(table, on="item_id", how="anti").sort("item_id")
    table = pl.concat([table, extra], how="diagonal")
    if kept is not None:
        table = table.filter(pl.col("item_id").is_in(kept.implode()))
    if table.is_empty():
        raise InputError("dataset: no item is left")
    return table


def _usable(
    table: pa.Table | None, owner: str, events: pa.Schema, rejected: dict[str, int]
) -> pa.Table | None:
    if table is None:
        return None
    name = f"{owner}_id"
    if name not in table.column_names:
        raise InputError(f"{owner}s: missing column {name!r}, has {', '.join(table.column_names)}")
    ids = normalised_ids(table[name], f"{owner}s.{name}")
    expected = normalised_ids(pa.chunked_array([], events.field(name).type), f"events.{name}").type
    if ids.type != expected:
        raise InputError(f"{owner}s.{name} is {ids.type}, but events.{name} is {expected}")
    table = table.set_column(table.schema.get_field_index(name), name, ids)
    is_usable = pl.Series(ids).is_first_distinct() & pl.Series(ids).is_not_null()
    left_out = int((~is_usable).sum())
    if left_out:
        rejected[f"{owner}s: id missing or repeated"] = left_out
        table = table.filter(pa.array(is_usable.to_numpy()))
    return table
