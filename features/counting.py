"""Counts of rate entities: building their tables, and reading them for items and contexts."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.config import Owner
from features.encoding import Encoded
from features.rates import RateTable
from features.schema import RateEntity, Schema

Lookup = Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]
"""Counts of codes of any shape: (...) to (..., 1 + tasks)."""


def entity_counts(
    schema: Schema,
    owner: Owner,
    lookups: Mapping[str, Lookup],
    *,
    encoded: Encoded,
    rows: npt.NDArray[Any] | None = None,
) -> npt.NDArray[np.float32]:
    """Return the counts of all of one owner's entities: (n, entities, 1 + tasks).

    The same function for examples, for a bundle's tables and for live requests.

    Args:
        schema: names the entities and their order.
        owner: "item" or "context".
        lookups: by entity name; a multi-valued entity's counts are the sum over its values.
        encoded: the encoded items or contexts (n, ...).
        rows: their item rows (n,); needed where the item itself is an entity.
    """
    entities = schema.entities_of(owner)
    counts = [lookups[e.name](_codes(schema, e, encoded, rows)) for e in entities]
    single = [c.sum(axis=1, dtype=np.float32) if c.ndim == 3 else c for c in counts]
    if not single:
        return np.zeros((len(encoded.codes), 0, 1 + len(schema.tasks)), np.float32)
    return np.stack(single, axis=1)


def latest_counts(
    schema: Schema, tables: Mapping[str, RateTable], items: Encoded
) -> npt.NDArray[np.float32]:
    """Return every item's counts after all events, (items + 1, item entities, 1 + tasks)."""
    lookups = {
        e.name: latest_lookup(schema, e, tables[e.name], len(items.codes))
        for e in schema.entities_of("item")
    }
    return entity_counts(schema, "item", lookups, encoded=items, rows=np.arange(len(items.codes)))


def latest_lookup(schema: Schema, entity: RateEntity, table: RateTable, num_items: int) -> Lookup:
    """Return the lookup of an entity's counts after all events."""
    dense = table.latest(entity_rows(schema, entity, num_items))
    return lambda codes: dense[codes]


def as_of_lookup(table: RateTable, buckets: npt.NDArray[np.int64]) -> Lookup:
    """Return the lookup of an entity's counts before each row's interval."""

    def lookup(codes: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        if codes.ndim == 1:
            return table.as_of(codes, buckets)
        counts = np.zeros((*codes.shape, table.cumulative.shape[1]), np.float32)
        is_known = codes > 0
        repeated = np.broadcast_to(buckets[:, None], codes.shape)
        counts[is_known] = table.as_of(codes[is_known], repeated[is_known])
        return counts

    return lookup


def entity_rows(schema: Schema, entity: RateEntity, num_items: int) -> int:
    """Return how many codes an entity has, including 0; `num_items` includes row 0."""
    if entity.feature is None:
        return num_items
    return next(
        f.rows for f in schema.features if f.owner == entity.owner and f.name == entity.feature
    )


def user_counts(
    users: npt.NDArray[np.int32],
    buckets: npt.NDArray[np.int64],
    steps: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """Return each event's user counts from that user's earlier intervals: (n, 1 + tasks).

    Args:
        users: rows (n,), sorted; buckets (n,) ascend within a user.
        buckets: update intervals.
        steps: what each event adds (n, 1 + tasks).
    """
    if not len(users):
        return np.zeros(steps.shape, np.float32)
    before = np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0)])
    starts_user = np.concatenate([[True], users[1:] != users[:-1]])
    starts_bucket = starts_user | np.concatenate([[True], buckets[1:] != buckets[:-1]])
    positions = np.arange(len(users))
    user_start = np.maximum.accumulate(np.where(starts_user, positions, 0))
    bucket_start = np.maximum.accumulate(np.where(starts_bucket, positions, 0))
    return np.asarray(before[bucket_start] - before[user_start], dtype=np.float32)


def rate_table(counts: pl.DataFrame, first_bucket: int, num_buckets: int) -> RateTable:
    """Accumulate counts by code and interval (columns `code`, `bucket`, `count_*`).

    The result does not depend on the order of the rows: label sums lie on a grid on which
    float64 sums are exact.
    """
    names = [name for name in counts.columns if name.startswith("count_")]
    known = counts.filter(pl.col("code") > 0)
    by_key = known.group_by("code", "bucket").agg(pl.col(names).sum()).sort("code", "bucket")
    totals = by_key.select(pl.col(names).cum_sum().over("code")).to_numpy()
    codes = by_key["code"].to_numpy().astype(np.int64)
    keys = codes * (num_buckets + 1) + (by_key["bucket"].to_numpy() - first_bucket)
    return RateTable(keys, totals.astype(np.float32), first_bucket, num_buckets)


def coded_counts(item_counts: pl.DataFrame, codes: npt.NDArray[Any]) -> pl.DataFrame:
    """Turn counts by item row into counts by code.

    Args:
        item_counts: columns `row`, `bucket`, `count_*`.
        codes: of every item by item row, (items + 1,) or (items + 1, values).
    """
    column = (
        pl.Series("code", codes[item_counts["row"].to_numpy()].tolist())
        if codes.ndim > 1
        else pl.Series("code", codes[item_counts["row"].to_numpy()])
    )
    table = item_counts.drop("row").with_columns(column)
    return table.explode("code") if codes.ndim > 1 else table


def _codes(
    schema: Schema, entity: RateEntity, encoded: Encoded, rows: npt.NDArray[Any] | None
) -> npt.NDArray[Any]:
    """Return the codes that an entity counts: (n,), or (n, values) of a multi-valued feature."""
    if entity.feature is None:
        assert rows is not None, entity.name
        return rows
    return feature_codes(schema, entity.owner, entity.feature, encoded)


def feature_codes(schema: Schema, owner: Owner, name: str, encoded: Encoded) -> npt.NDArray[Any]:
    """Return one feature's codes: (n,), or (n, values) when it is multi-valued."""
    names = [f.name for f in schema.select(owner, "categorical")]
    if name in names:
        return np.asarray(encoded.codes[:, names.index(name)])
    multi: Sequence[str] = [f.name for f in schema.select(owner, "multi")]
    return np.asarray(encoded.multi[:, multi.index(name)])
