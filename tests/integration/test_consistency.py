"""What serving assembles for a moment of the past is what training saw, bit for bit."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from cluster.storage import Storage
from features.assembly import Inputs
from features.counting import as_of_lookup, entity_counts
from features.encoding import Encoded, Encoder
from features.examples import Examples
from features.rates import bucket_of
from features.stores.fill import fill
from features.stores.memory import MemoryStore
from features.stores.recorder import Recorder
from features.vocabulary import Vocabularies
from models.bundle import Bundle
from retrieval.registry import champion
from serve.events import EventWriter
from serve.hydration import Hydrator, UserSource
from serve.messages import MAX_EVENTS, Events, Request
from serve.ranking import Ranker

pytestmark = [
    pytest.mark.integration,
    # MLflow's registry uses a loader that SQLAlchemy deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
KUAIRAND = ROOT.parent / "shared" / "data" / "kuairand-pure"
NUM_SAMPLES = 250
KEYS = ["user_id", "item_id", "timestamp"]
NOT_CONTEXT = ("user_id", "item_id", "timestamp", "split")


@dataclass
class StoppedClock:
    """Stands where the test puts it."""

    instant_ms: int = 0

    def now_ms(self) -> int:
        """Return the instant."""
        return self.instant_ms


class CountsAsOf:
    """The prepared counts as they were at the instant of each request."""

    def __init__(self, examples: Examples) -> None:
        self.schema = examples.schema
        self.items_encoded = examples.catalogue.encoded
        self.tables = {
            entity.name: examples.rates(entity.name)
            for entity in examples.schema.entities
            if entity.owner != "user"
        }

    def contexts(self, context: Encoded, now_ms: int) -> npt.NDArray[np.float32]:
        """Return the counts of a context's entities."""
        return entity_counts(self.schema, "context", self._lookups(now_ms, 1), encoded=context)

    def items(self, rows: npt.NDArray[Any], now_ms: int) -> npt.NDArray[np.float32]:
        """Return the counts of items."""
        lookups = self._lookups(now_ms, len(rows))
        encoded = self.items_encoded.take(rows)
        return entity_counts(self.schema, "item", lookups, encoded=encoded, rows=rows)

    def _lookups(
        self, now_ms: int, num_rows: int
    ) -> dict[str, Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]]]:
        instants = np.full(num_rows, now_ms, np.int64)
        buckets = bucket_of(instants, self.schema.interval_ms, self.schema.utc_offset_ms)
        return {name: as_of_lookup(table, buckets) for name, table in self.tables.items()}


class Prepared:
    """The part of a bundle that exists before any model is trained."""

    id = "prepared"
    has_ranker = False
    has_batch_ranker = False

    def __init__(self, examples: Examples) -> None:
        self.schema = examples.schema
        self.catalogue = examples.catalogue
        self.assembler = examples.assembler
        vocabularies = Vocabularies.open(examples.folder / "vocabularies")
        self.encoder = Encoder(examples.schema, vocabularies)


class World:
    """A recommender's prepared data beside the serving path that has yet to hear its events."""

    def __init__(self, storage: Storage, bundle: Any) -> None:
        self.storage = storage
        self.examples = Examples.open(storage)
        self.clock = StoppedClock()
        recorder = Recorder(bundle.schema)
        self.users = UserSource(MemoryStore(), recorder, self.clock)
        self.writer = EventWriter(bundle.schema, self.users)
        counts = CountsAsOf(self.examples)
        self.hydrator = Hydrator(bundle, self.users, counts=counts, exclude_seen=True)
        self.ranker = Ranker(bundle, counts)
        self.attributes = self._attributes()

    def partitions(self) -> Iterator[tuple[int, pl.DataFrame]]:
        """Yield each partition's events in the order of its shards."""
        for partition in range(self.examples.num_partitions):
            path = self.storage.fetch("tables") / "events" / f"part-{partition:05d}.parquet"
            yield partition, pl.read_parquet(path)

    def hear(self, events: pl.DataFrame) -> None:
        """Send events through the live event code, as an application would."""
        sent = events.select(
            "user_id",
            "item_id",
            pl.col("timestamp").dt.epoch("ms"),
            *(pl.col(task.column).cast(pl.Float64) for task in self.examples.schema.tasks),
        )
        for batch in sent.iter_slices(MAX_EVENTS):
            rows = [{k: v for k, v in row.items() if v is not None} for row in batch.to_dicts()]
            self.clock.instant_ms = rows[-1]["timestamp"]
            self.writer.write(Events.model_validate({"events": rows}))

    def know(self, user_id: Any) -> None:
        """Start a user's record with nothing but the attributes."""
        record = self.users.recorder.empty(self.attributes.get(user_id))
        self.users.store.update({str(user_id): lambda _: record})

    def served(self, event: dict[str, Any]) -> Inputs:
        """Assemble an impression as a request at its instant would."""
        instant = round(event["timestamp"].timestamp() * 1000)
        context = {k: v for k, v in event.items() if k not in NOT_CONTEXT and _is_context(v)}
        request = Request.model_validate({"user_id": event["user_id"], "context": context})
        query = self.hydrator.hydrate(request, instant)
        row = self.hydrator.bundle.catalogue.rows_by_id[str(event["item_id"])]
        return {**query.inputs, **self.ranker.item_inputs(np.asarray([row]), instant)}

    def _attributes(self) -> dict[Any, dict[str, Any]]:
        path = self.storage.fetch("tables") / "users.parquet"
        if not path.is_file():
            return {}
        names = {f.name for f in self.examples.schema.features if f.owner == "user"}
        table = pl.read_parquet(path)
        rows = table.select("user_id", *sorted(names)).iter_rows(named=True)
        return {row.pop("user_id"): row for row in rows}


@pytest.fixture(scope="module")
def world(tiny_bundle_root: Path) -> World:
    storage = Storage(str(tiny_bundle_root), "tiny")
    return World(storage, Bundle(champion(storage)))


def sampled_impressions(
    world: World, num_samples: int
) -> Iterator[tuple[dict[str, Any], Inputs, Inputs]]:
    """Yield test impressions with their inputs as served and as prepared."""
    num_test = world.examples.manifest["dataset"]["split"]["test"]
    random = np.random.default_rng(0)
    for partition, events in world.partitions():
        shard, timelines = (
            world.examples.shard("test", partition),
            world.examples.timelines(partition),
        )
        test = events.filter(pl.col("split") == "test")
        assert len(shard) == test.height
        chosen = np.flatnonzero(random.random(len(shard)) < num_samples / num_test)
        for index in chosen.tolist():
            event = test.row(index, named=True)
            world.know(event["user_id"])
            own = events.filter(pl.col("user_id") == event["user_id"])
            world.hear(own.filter(pl.col("timestamp") < event["timestamp"]))
            prepared = world.examples.ranking_inputs(shard, timelines, np.asarray([index]))
            yield event, world.served(event), prepared


def predictions(world: World, num_samples: int) -> pl.DataFrame:
    """Return sampled impressions' predictions as served beside those of training's evaluation."""
    rows = []
    for event, served, _ in sampled_impressions(world, num_samples):
        user = {name: served[name] for name in served if not name.startswith("item_")}
        items = {name: served[name] for name in served if name.startswith("item_")}
        predicted = world.ranker.predict(user, items)[0].tolist()
        keys = {name: event[name] for name in KEYS}
        rows.append(keys | dict(zip(world.ranker.tasks, predicted, strict=True)))
    offline = pl.read_parquet(world.storage.fetch("trained/ranking") / "ranking.parquet")
    instant = pl.col("timestamp").cast(offline.schema["timestamp"])
    return pl.DataFrame(rows).with_columns(instant).join(offline, on=KEYS)


def assert_equal_inputs(served: Inputs, prepared: Inputs) -> None:
    assert sorted(served) == sorted(prepared)
    for name, expected in prepared.items():
        assert served[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(served[name], expected, err_msg=name)


def check_features(world: World) -> None:
    """Compare sampled impressions as served with those as prepared."""
    num_compared = 0
    for _, served, prepared in sampled_impressions(world, NUM_SAMPLES):
        assert_equal_inputs(served, prepared)
        num_compared += 1
    assert num_compared >= 200


def test_features_of_the_past_are_those_of_training(world: World) -> None:
    check_features(world)


@pytest.mark.skipif(not KUAIRAND.is_dir(), reason=f"needs {KUAIRAND}")
def test_features_of_kuairands_past_are_those_of_training(tmp_path: Path) -> None:
    overrides = [f"storage.root={tmp_path}", f"dataset.path={KUAIRAND}"]
    arguments = [argument for override in overrides for argument in ("--set", override)]
    config = str(ROOT / "configs" / "kuairand.toml")
    command = [sys.executable, "-m", "features", config, *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=600)
    storage = Storage(str(tmp_path), "kuairand")
    check_features(World(storage, Prepared(Examples.open(storage))))


def test_another_moment_is_seen_otherwise(world: World) -> None:
    """What the comparison is worth: a request a day later has other counts and gaps."""
    event, served, _ = next(sampled_impressions(world, NUM_SAMPLES))
    later = world.served({**event, "timestamp": event["timestamp"] + timedelta(days=1)})
    differing = [name for name in served if not np.array_equal(served[name], later[name])]
    assert {"item_rates", "item_age", "context_codes"} <= set(differing)


def test_predictions_of_the_past_are_those_of_training(world: World) -> None:
    compared = predictions(world, NUM_SAMPLES)
    assert compared.height >= 200
    for task in world.ranker.tasks:
        served, offline = compared[task].to_numpy(), compared[f"pred_{task}"].to_numpy()
        np.testing.assert_allclose(served, offline, rtol=1e-5, atol=1e-5, err_msg=task)


def test_a_filled_record_is_that_of_the_same_events_heard_live(world: World) -> None:
    filled = MemoryStore()
    recorder = world.users.recorder
    assert fill(filled, world.storage, recorder) == 300
    assert fill(filled, world.storage, recorder) == 0
    for _, events in world.partitions():
        for user_id in events["user_id"].unique().head(50):
            world.know(user_id)
            world.hear(events.filter(pl.col("user_id") == user_id))
            live, record = world.users.store.read(str(user_id)), filled.read(str(user_id))
            assert live is not None
            assert record is not None
            live.recent, live.filled = [], record.filled
            assert {k: v for k, v in live.attributes.items() if v is not None} == record.attributes
            live.attributes = record.attributes
            assert live == record


def _is_context(value: object) -> bool:
    return isinstance(value, str | int | float | bool)
