"""Nothing that a model sees of an example comes from its own time or later."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.examples import Examples, Shard
from features.timelines import SPLITS
from tests.in_process import TableAdapter, prepare_here

HOUR = 3_600_000
NUM_USERS, NUM_ITEMS, NUM_EVENTS = 4, 6, 60
ITEMS = pa.table(
    {
        "item_id": [f"i{i}" for i in range(NUM_ITEMS)],
        "genre": ["a", "b", "a", None, "b", "a"],
        "tags": [["x"], ["x", "y"], [], ["y"], None, ["x", "y", "z"]],
        "length": [1.0, 2.0, None, 4.0, 5.0, 6.0],
    }
)
USERS = pa.table({"user_id": [f"u{u}" for u in range(NUM_USERS)], "country": ["n", "n", "s", "s"]})
FEATURES: dict[str, Any] = {
    "split": {"kind": "column"},
    "min_count": 1,
    "history_length": 5,
    "rates": {"interval": "1h", "smoothing": 2},
}
TASKS = [
    {"name": "click", "column": "click"},
    {"name": "watch", "column": "watch", "kind": "watch_time"},
]
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking prepares hundreds of times
Event = dict[str, Any]


def random_events(seed: int, num_events: int = NUM_EVENTS) -> list[Event]:
    """Return events by time with ties; the last third tests."""
    rng = np.random.default_rng(seed)
    timestamps = np.sort(rng.integers(0, 8 * HOUR, num_events) // (HOUR // 4) * (HOUR // 4))
    bounds = [num_events // 2, 2 * num_events // 3]
    return [
        {
            "user_id": f"u{rng.integers(NUM_USERS)}",
            "item_id": f"i{rng.integers(NUM_ITEMS)}",
            "timestamp": int(timestamps[i]),
            "click": bool(rng.random() < 0.5),
            "watch": float(np.round(rng.random() * 100, 2)),
            "surface": ["feed", "search"][rng.integers(2)],
            "split": SPLITS[int(np.searchsorted(bounds, i, side="right"))],
        }
        for i in range(num_events)
    ]


def prepared(root: Path, events: list[Event], *, block_rows: int = 1_000_000) -> Examples:
    """Prepare events with every kind of rate entity."""
    table = pa.Table.from_pylist(events)
    instants = table["timestamp"].cast(pa.timestamp("ms", "UTC"))
    table = table.set_column(table.schema.get_field_index("timestamp"), "timestamp", instants)
    half = len(events) // 2
    adapter = TableAdapter([table.slice(0, half), table.slice(half)], ITEMS, USERS)
    features = {**FEATURES, "block_rows": block_rows}
    return prepare_here(root, adapter, features, tasks=TASKS)


def rows(examples: Examples) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return every example's own facts by (user, item, timestamp, surface code)."""
    found = {}
    users, items = examples.user_ids.to_list(), examples.catalogue.table["item_id"].to_list()
    for split in SPLITS:
        for partition in range(examples.num_partitions):
            shard, timelines = examples.shard(split, partition), examples.timelines(partition)
            for i in range(len(shard)):
                span = slice(int(shard.history_begin[i]), int(shard.history_end[i]))
                history = [items[row - 1] for row in timelines.items[span]]
                key = (
                    users[shard.user[i] - 1],
                    items[shard.item[i] - 1],
                    int(shard.timestamp[i]),
                    *shard.context_codes[i].tolist(),
                    *shard.labels[i].tolist(),
                )
                found[key] = {
                    "split": split,
                    "history": list(zip(history, timelines.timestamps[span].tolist(), strict=True)),
                    "user_counts": shard.user_counts[i].tolist(),
                    "item_counts": shard.item_counts[i].tolist(),
                    "inputs": inputs_of(examples, shard, partition, i),
                }
    return found


def inputs_of(examples: Examples, shard: Shard, partition: int, index: int) -> dict[str, bytes]:
    """Return the bytes of one example's model inputs."""
    timelines = examples.timelines(partition)
    inputs = examples.ranking_inputs(shard, timelines, np.asarray([index]))
    return {name: array.tobytes() for name, array in inputs.items()}


def counts_before(events: list[Event], bucket: int) -> list[float]:
    """Return impressions, clicks and log watch time of events in earlier intervals."""
    earlier = [event for event in events if event["timestamp"] // HOUR < bucket]
    watch = sum(
        np.rint(np.log1p(np.float32(e["watch"]).astype(float)) * 65_536) / 65_536 for e in earlier
    )
    return [len(earlier), sum(e["click"] for e in earlier), float(np.float32(watch))]


def reference(events: list[Event], event: Event) -> dict[str, Any]:
    """Compute an example by the definition, event by event."""
    bucket = event["timestamp"] // HOUR
    attributes = {row["item_id"]: row for row in ITEMS.to_pylist()}
    own = attributes[event["item_id"]]

    def of(matches: Any) -> list[float]:
        return counts_before([e for e in events if matches(e)], bucket)

    tags = [
        of(lambda e, t=tag: t in (attributes[e["item_id"]]["tags"] or []))
        for tag in own["tags"] or []
    ]
    genre = of(lambda e: attributes[e["item_id"]]["genre"] == own["genre"])
    allowed = SPLITS[: SPLITS.index(event["split"]) + 1]
    positives = [
        e
        for e in events
        if e["user_id"] == event["user_id"]
        and e["click"]
        and e["timestamp"] < event["timestamp"]
        and e["split"] in allowed
    ]
    return {
        "history": [(e["item_id"], e["timestamp"]) for e in positives],
        "user_counts": [
            of(lambda e: e["user_id"] == event["user_id"]),
            of(lambda e: e["surface"] == event["surface"]),
        ],
        "item_counts": [
            of(lambda e: e["item_id"] == event["item_id"]),
            genre if own["genre"] else [0, 0, 0],
            [float(sum(column)) for column in zip(*tags, strict=True)] if tags else [0, 0, 0],
        ],
    }


@pytest.mark.parametrize("seed", range(3))
def test_examples_equal_the_definition(seed: int, tmp_path: Path) -> None:
    events = random_events(seed)
    examples = prepared(tmp_path, events)
    entities = [entity.name for entity in examples.schema.entities]
    assert entities == ["user", "item", "item.genre", "item.tags", "context.surface"]
    found = list(rows(examples).items())
    assert len(found) == len({tuple(e.values()) for e in events})
    by_key = {(key[0], key[1], key[2]): value for key, value in found}
    for event in events:
        value = by_key[event["user_id"], event["item_id"], event["timestamp"]]
        expected = reference(events, event)
        assert value["history"] == expected["history"]
        np.testing.assert_allclose(value["user_counts"], expected["user_counts"], rtol=1e-6)
        np.testing.assert_allclose(value["item_counts"], expected["item_counts"], rtol=1e-6)


def test_examples_do_not_depend_on_partitions_and_sources(tmp_path: Path) -> None:
    events = random_events(7)
    one = prepared(tmp_path / "one", events)
    many = prepared(tmp_path / "many", events, block_rows=7)
    assert one.num_partitions == 1
    assert many.num_partitions > 1
    assert one.schema == many.schema
    assert rows(one) == rows(many)


@given(seed=st.integers(0, 1_000), draw=st.data())
@settings(
    max_examples=8, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow]
)
def test_inputs_ignore_their_own_time_and_later(seed: int, draw: st.DataObject) -> None:
    events = random_events(seed)
    tests = [event for event in events if event["split"] == "test"]
    chosen = draw.draw(st.sampled_from(tests))
    future = [e for e in events if e["timestamp"] >= chosen["timestamp"] and e["split"] == "test"]
    changed = [
        draw.draw(changes(event, keep_keys=event is chosen)) if event in future else event
        for event in events
    ]
    assert inputs_at(changed, chosen) == inputs_at(events, chosen)


@given(seed=st.integers(0, 1_000), draw=st.data())
@settings(
    max_examples=8, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow]
)
def test_counts_ignore_the_whole_current_interval(seed: int, draw: st.DataObject) -> None:
    events = random_events(seed)
    chosen = draw.draw(st.sampled_from([e for e in events if e["split"] == "test"]))
    bucket = chosen["timestamp"] // HOUR
    changed = [
        {**e, "click": not e["click"], "watch": e["watch"] + 1}
        if e["timestamp"] // HOUR >= bucket and e["split"] == "test"
        else e
        for e in events
    ]
    before, after = inputs_at(events, chosen), inputs_at(changed, chosen)
    for name in ("user_rates", "item_rates"):
        assert before[name] == after[name]


def test_an_earlier_event_does_change_the_inputs() -> None:
    """Without this the property tests above could not fail."""
    events = random_events(3)
    chosen = next(e for e in reversed(events) if e["timestamp"] // HOUR > 0)
    bucket = chosen["timestamp"] // HOUR
    earlier = next(
        e
        for e in reversed(events)
        if e["timestamp"] // HOUR < bucket
        and e["split"] == "test"
        and e["user_id"] == chosen["user_id"]
    )
    changed = [{**e, "click": not e["click"]} if e is earlier else e for e in events]
    before, after = inputs_at(events, chosen), inputs_at(changed, chosen)
    assert before["user_rates"] != after["user_rates"]
    assert before["history_codes"] != after["history_codes"]


def changes(event: Event, *, keep_keys: bool) -> st.SearchStrategy[Event]:
    """Return other outcomes of an event; its item and a later instant too, unless kept."""
    outcomes: dict[str, Any] = {"click": st.booleans(), "watch": st.floats(0, 1e4, width=32)}
    if not keep_keys:
        outcomes["item_id"] = st.sampled_from([f"i{i}" for i in range(NUM_ITEMS)])
        outcomes["timestamp"] = st.integers(event["timestamp"], 9 * HOUR)
    return st.fixed_dictionaries(outcomes).map(lambda values: {**event, **values})


def inputs_at(events: list[Event], chosen: Event) -> dict[str, bytes]:
    """Prepare the events and return the model inputs of the chosen one of the test split.

    Encodings are fitted on training events, which the tests leave alone.
    """
    with tempfile.TemporaryDirectory() as root:
        examples = prepared(Path(root), events)
        shard = examples.shard("test", 0)
        user = examples.user_ids.to_list().index(chosen["user_id"]) + 1
        item = examples.catalogue.table["item_id"].to_list().index(chosen["item_id"]) + 1
        is_chosen = (shard.user == user) & (shard.item == item)
        is_chosen &= shard.timestamp == chosen["timestamp"]
        surface = examples.vocabularies["context.surface"].row(chosen["surface"])
        is_chosen &= shard.context_codes[:, 0] == surface
        return inputs_of(examples, shard, 0, int(np.flatnonzero(is_chosen)[0]))
