"""A toy retrieval data set with ties, repeats and partitions, and what the towers read of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from cluster.storage import MANIFEST
from features.catalogue import Catalogue
from features.config import TaskConfig
from features.encoding import Encoded
from features.examples import Examples
from features.schema import Feature, Schema
from features.timelines import SPLITS, Timelines

ITEMS, USERS, MAX_VALUES, HISTORY = 24, 12, 3, 8
NEW_ITEM = ITEMS
FEATURES = (
    Feature(name="topic", owner="item", kind="categorical", rows=4),
    Feature(name="item_id", owner="item", kind="categorical", rows=ITEMS + 1),
    Feature(name="tags", owner="item", kind="multi", rows=6),
    Feature(name="duration_s", owner="item", kind="numeric"),
    Feature(name="country", owner="user", kind="categorical", rows=4),
    Feature(name="age", owner="user", kind="numeric"),
    Feature(name="tab", owner="context", kind="categorical", rows=3),
    Feature(name="battery", owner="context", kind="numeric"),
)


@dataclass(frozen=True)
class Event:
    """One positive event of the toy."""

    item: int
    second: int
    split: str = "train"


def toy_schema(**changes: object) -> Schema:
    """Return the toy schema, with some fields replaced."""
    fields = {
        "recommender": "toy",
        "features": FEATURES,
        "entities": (),
        "tasks": (TaskConfig(name="click", column="click"),),
        "base_rates": (0.4,),
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


def random_timelines(random: np.random.Generator, *, num_users: int = USERS) -> list[list[Event]]:
    """Return users of 0 to 30 events with ties; the last ones are validation and test."""
    timelines = []
    for size in random.integers(0, 31, num_users):
        seconds = np.sort(random.integers(0, 2 * size + 1, size))
        items = random.integers(1, NEW_ITEM, size)
        timelines.append(
            [
                Event(int(item), int(second), _split_of(int(second)))
                for item, second in zip(items, seconds, strict=True)
            ]
        )
    return timelines


def toy_examples(
    folder: Path,
    timelines: Sequence[Sequence[Event]],
    *,
    schema: Schema | None = None,
    partitions: int = 2,
) -> Examples:
    """Write and open a data set; user k has the k-th timeline, users alternate partitions."""
    schema = schema or toy_schema()
    random = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    schema.save(folder)
    items = _encoded(schema, "item", ITEMS + 1, random)
    names = [feature.name for feature in schema.select("item", "categorical")]
    if "item_id" in names:
        items.codes[:, names.index("item_id")] = np.arange(ITEMS + 1)
    table = pl.DataFrame({"item_id": [f"item-{i}" for i in range(1, ITEMS + 1)]})
    shown = np.r_[0, np.ones(ITEMS - 1), 0].astype(np.int32)
    unknown = np.full(ITEMS + 1, -1, np.int64)
    Catalogue(table, items, unknown, shown).save(folder / "catalogue")
    _encoded(schema, "user", len(timelines) + 1, random).save(folder / "users")
    ids = pl.DataFrame({"user_id": np.arange(1, len(timelines) + 1) * 10})
    ids.write_parquet(folder / "users" / "ids.parquet")
    seen = [0, *(sum(event.split == "train" for event in events) for events in timelines)]
    np.save(folder / "users" / "train_events.npy", np.asarray(seen, np.int32))
    for partition in range(partitions):
        rows = range(1 + partition, len(timelines) + 1, partitions)
        chosen = {row: timelines[row - 1] for row in rows}
        _timelines(schema, chosen, random).save(folder / "timelines" / f"{partition:05d}")
    manifest = {
        "id": "toy",
        "fingerprint": schema.fingerprint,
        "num_partitions": partitions,
        "dataset": {"split": {"train": sum(seen)}},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return Examples(folder)


def _split_of(second: int) -> str:
    return "train" if second < 40 else "validation" if second < 46 else "test"


def _encoded(schema: Schema, owner: str, n: int, random: np.random.Generator) -> Encoded:
    codes = [random.integers(0, f.rows, n) for f in schema.select(owner, "categorical")]
    multi = [random.integers(0, f.rows, (n, MAX_VALUES)) for f in schema.select(owner, "multi")]
    numbers = random.normal(size=(n, len(schema.select(owner, "numeric"))))
    return Encoded(
        np.stack(codes, 1).astype(np.int32) if codes else np.zeros((n, 0), np.int32),
        np.stack(multi, 1).astype(np.int32) if multi else np.zeros((n, 0, MAX_VALUES), np.int32),
        numbers.astype(np.float32),
    )


def _timelines(
    schema: Schema, timelines: dict[int, Sequence[Event]], random: np.random.Generator
) -> Timelines:
    events = [event for timeline in timelines.values() for event in timeline]
    sizes = [len(timeline) for timeline in timelines.values()]
    contexts = _encoded(schema, "context", len(events), random)
    return Timelines(
        users=np.asarray(list(timelines), np.int32),
        offsets=np.cumsum([0, *sizes]).astype(np.int64),
        items=np.asarray([event.item for event in events], np.int32),
        timestamps=np.asarray([event.second * 1000 for event in events], np.int64),
        context_codes=contexts.codes,
        context_numbers=contexts.numbers,
        split=np.asarray([SPLITS.index(event.split) for event in events], np.uint8),
    )
