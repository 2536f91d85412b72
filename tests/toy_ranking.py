"""A toy ranking data set, written straight into the layout that preparation publishes."""

import json
from pathlib import Path

import numpy as np
import polars as pl

from cluster.storage import MANIFEST
from features.catalogue import Catalogue
from features.config import TaskConfig
from features.encoding import Encoded
from features.examples import Examples, Shard
from features.schema import Feature, RateEntity, Schema
from features.timelines import SPLITS, Timelines

USERS, ITEMS, MAX_VALUES, HISTORY = 40, 30, 3, 6
TASKS = (
    TaskConfig(name="click", column="click", weight=1.0),
    TaskConfig(name="like", column="like", weight=0.5),
    TaskConfig(name="watch_time", column="watch_time_s", kind="watch_time", weight=0.1),
)
FEATURES = (
    Feature(name="item_id", owner="item", kind="categorical", rows=ITEMS + 1),
    Feature(name="author", owner="item", kind="categorical", rows=5),
    Feature(name="tags", owner="item", kind="multi", rows=7),
    Feature(name="duration_s", owner="item", kind="numeric"),
    Feature(name="country", owner="user", kind="categorical", rows=4),
    Feature(name="age", owner="user", kind="numeric"),
    Feature(name="tab", owner="context", kind="categorical", rows=3),
)
ENTITIES = (
    RateEntity(name="user", owner="user"),
    RateEntity(name="item", owner="item"),
    RateEntity(name="item.author", owner="item", feature="author"),
    RateEntity(name="context.tab", owner="context", feature="tab"),
)


def toy_schema(**changes: object) -> Schema:
    """Return the toy schema, with some fields replaced."""
    fields = {
        "recommender": "toy",
        "features": FEATURES,
        "entities": ENTITIES,
        "tasks": TASKS,
        "base_rates": (0.4, 0.1, 2.0),
        "positive": "click",
        "history_length": HISTORY,
        "max_values": MAX_VALUES,
        "interval_ms": 86_400_000,
        "utc_offset_ms": 0,
        "smoothing": 20.0,
        "has_time": True,
        "vocabularies": "toy",
    }
    return Schema.model_validate(fields | changes)


def toy_examples(
    folder: Path, *, schema: Schema | None = None, partitions: int = 2, rows: int = 200
) -> Examples:
    """Write and open a data set whose clicks follow the item's author and the user's age."""
    schema = schema or toy_schema()
    random = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    schema.save(folder)
    items = _encoded(schema, "item", ITEMS + 1, random)
    table = pl.DataFrame({"item_id": [f"item-{i}" for i in range(1, ITEMS + 1)]})
    published = np.full(ITEMS + 1, -1, np.int64)
    events = np.r_[np.zeros(3), np.ones(ITEMS - 2)].astype(np.int32)
    Catalogue(table, items, published, events).save(folder / "catalogue")
    users = _encoded(schema, "user", USERS + 1, random)
    users.save(folder / "users")
    ids = pl.DataFrame({"user_id": np.arange(1, USERS + 1) * 10})
    ids.write_parquet(folder / "users" / "ids.parquet")
    np.save(folder / "users" / "train_events.npy", np.arange(USERS + 1, dtype=np.int32) % 5)
    for partition in range(partitions):
        timelines = _timelines(schema, random)
        timelines.save(folder / "timelines" / f"{partition:05d}")
        for split in SPLITS:
            shard = _shard(schema, rows, items, users, random)
            shard.save(folder / "shards" / split / f"{partition:05d}")
    manifest = {
        "id": "toy",
        "fingerprint": schema.fingerprint,
        "num_partitions": partitions,
        "dataset": {"split": {"train": rows * partitions}},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return Examples(folder)


def _encoded(schema: Schema, owner: str, n: int, random: np.random.Generator) -> Encoded:
    codes = [random.integers(0, f.rows, n) for f in schema.select(owner, "categorical")]
    multi = [random.integers(0, f.rows, (n, MAX_VALUES)) for f in schema.select(owner, "multi")]
    numbers = random.normal(size=(n, len(schema.select(owner, "numeric"))))
    return Encoded(
        np.stack(codes, 1).astype(np.int32) if codes else np.zeros((n, 0), np.int32),
        np.stack(multi, 1).astype(np.int32) if multi else np.zeros((n, 0, MAX_VALUES), np.int32),
        numbers.astype(np.float32),
    )


def _timelines(schema: Schema, random: np.random.Generator) -> Timelines:
    n = 20
    context = len(schema.select("context", "categorical"))
    return Timelines(
        users=np.asarray([1], np.int32),
        offsets=np.asarray([0, n], np.int64),
        items=random.integers(1, ITEMS + 1, n).astype(np.int32),
        timestamps=np.arange(n, dtype=np.int64) * 1000,
        context_codes=np.zeros((n, context), np.int32),
        context_numbers=np.zeros((n, 0), np.float32),
        split=np.zeros(n, np.uint8),
    )


def _shard(
    schema: Schema, n: int, items: Encoded, users: Encoded, random: np.random.Generator
) -> Shard:
    user, item = random.integers(1, USERS + 1, n), random.integers(1, ITEMS + 1, n)
    liking = 2.0 * (items.codes[item, -1] % 2) - 1 + 0.5 * users.numbers.sum(1)[user]
    click = random.random(n) < 1 / (1 + np.exp(-liking))
    watch = np.where(click, random.exponential(20, n), random.exponential(2, n))
    known = {"click": click, "like": click & (random.random(n) < 0.3), "watch_time": watch}
    labels = np.stack([known[task.name] for task in schema.tasks], 1).astype(np.float32)
    labels[random.random(labels.shape) < 0.1] = np.nan
    context = schema.select("context", "categorical")
    codes = [random.integers(0, feature.rows, n) for feature in context]
    end = random.integers(0, 21, n)
    sides = len(schema.entities_of("user") + schema.entities_of("context"))
    return Shard(
        user=user.astype(np.int32),
        item=item.astype(np.int32),
        timestamp=np.arange(n, dtype=np.int64) * 500,
        context_codes=np.stack(codes, 1).astype(np.int32) if codes else np.zeros((n, 0), np.int32),
        context_numbers=np.zeros((n, 0), np.float32),
        history_begin=np.zeros(n, np.int64),
        history_end=end.astype(np.int64),
        user_counts=_counts(n, sides, schema, random),
        item_counts=_counts(n, len(schema.entities_of("item")), schema, random),
        labels=labels,
    )


def _counts(n: int, entities: int, schema: Schema, random: np.random.Generator) -> np.ndarray:
    impressions = random.integers(0, 50, (n, entities, 1))
    shares = random.random((n, entities, len(schema.tasks)))
    return np.concatenate([impressions, impressions * shares], axis=2).astype(np.float32)
