"""The online store is filled from prepared data once, and live events outlast it."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from cluster.errors import InputError
from cluster.storage import MANIFEST, Storage, content_hash
from features.examples import Examples
from features.stores.fill import TABLES, Filling, fill
from features.stores.filled import Filled
from features.stores.memory import MemoryStore
from features.stores.record import Record, UserEvent
from features.stores.recorder import MAX_RECENT, Recorder
from features.stores.store import Change
from tests.in_process import TableAdapter, prepare_here

DAY = 86_400_000
USERS = pa.table(
    {
        "user_id": [1, 2, 3],
        "country": ["SE", None, "KE"],
        "joined": pa.array([0, 0, 0], pa.timestamp("ms")),
        "height": pa.array([Decimal(180), Decimal("1.5"), None], pa.decimal128(5, 1)),
    }
)


def events(*rows: tuple[int, int, int, bool | None]) -> pa.Table:
    """Return events of (user, item, day, click)."""
    user, item, day, click = (list(column) for column in zip(*rows, strict=True))
    instants = pa.array([d * DAY for d in day], pa.timestamp("ms", "UTC"))
    columns = {"user_id": user, "item_id": item, "timestamp": instants, "click": click}
    return pa.table(columns)


PAST = ((1, 10, 0, True), (1, 11, 1, False), (1, 12, 3, True), (2, 10, 2, True), (2, 11, 4, None))


def prepare(root: Path, *rows: tuple[int, int, int, bool | None]) -> Examples:
    adapter = TableAdapter([events(*rows)], user_table=USERS)
    split = {"validation": "3d", "test": "1d"}
    examples = prepare_here(root, adapter, {"split": split, "min_count": 1})
    manifest = {**examples.manifest, "id": content_hash(rows)}
    (root / "toy" / TABLES / MANIFEST).write_text(json.dumps(manifest))
    return examples


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    prepare(tmp_path, *PAST)
    return Storage(str(tmp_path), "toy")


@pytest.fixture
def recorder(storage: Storage) -> Recorder:
    return Recorder(Examples.open(storage).schema)


def read(store: MemoryStore, user_id: str) -> Record:
    record = store.read(user_id)
    assert record is not None
    return record


def click(recorder: Recorder, item: str, day: float) -> Callable[[Record | None], Record]:
    event = UserEvent(item, round(day * DAY), {"click": 1.0})
    return lambda record: recorder.appended(record, [event])


def test_every_user_gets_history_counts_and_attributes(
    storage: Storage, recorder: Recorder
) -> None:
    store = MemoryStore()
    assert fill(store, storage, recorder) == 3
    record = read(store, "1")
    assert (record.item_ids, record.item_ms) == (["10", "12"], [0, 3 * DAY])
    assert recorder.counts(record, 3 * DAY).tolist() == [2, 1]
    assert recorder.counts(record, 4 * DAY).tolist() == [3, 2]
    assert record.attributes == {"country": "SE", "height": 180.0}
    assert read(store, "2").attributes == {"height": 1.5}


def test_a_user_without_events_is_known_by_attributes(storage: Storage, recorder: Recorder) -> None:
    store = MemoryStore()
    fill(store, storage, recorder)
    silent = read(store, "3")
    assert (silent.item_ids, silent.attributes["country"]) == ([], "KE")


def test_a_store_is_filled_once_from_the_same_data(storage: Storage, recorder: Recorder) -> None:
    store = MemoryStore()
    fill(store, storage, recorder)
    store.delete("1")
    assert fill(store, storage, recorder) == 0
    assert store.read("1") is None


def test_live_events_outlast_a_refill_and_those_that_became_data_count_once(
    tmp_path: Path, storage: Storage, recorder: Recorder
) -> None:
    store = MemoryStore()
    fill(store, storage, recorder)
    store.update({"1": click(recorder, "11", 5), "2": click(recorder, "12", 7)})
    store.update({"live only": click(recorder, "10", 5)})
    prepare(tmp_path, *PAST, (1, 11, 5, True), (3, 10, 6, True))
    assert fill(store, storage, recorder) == 3
    assert read(store, "1").item_ids == ["10", "12", "11"]
    assert recorder.counts(read(store, "1"), 9 * DAY).tolist() == [4, 3]
    assert read(store, "2").item_ids == ["10", "12"]
    assert read(store, "live only").item_ids == ["10"]


def test_users_who_left_the_data_are_erased(
    tmp_path: Path, storage: Storage, recorder: Recorder
) -> None:
    store = MemoryStore()
    fill(store, storage, recorder)
    store.update({"gone": lambda _: Record(recorder.layout, filled="earlier data")})
    prepare(tmp_path, *PAST, (3, 10, 6, True))
    fill(store, storage, recorder)
    assert store.read("gone") is None


def test_a_fill_that_is_cut_short_starts_again(storage: Storage, recorder: Recorder) -> None:
    class Cut(MemoryStore):
        def update(self, changes: Mapping[str, Change]) -> None:
            super().update(changes)
            raise KeyboardInterrupt

    store = Cut()
    with pytest.raises(KeyboardInterrupt):
        fill(store, storage, recorder)
    assert Filled.of(store) is None
    whole = MemoryStore()
    whole._users = store._users
    assert fill(whole, storage, recorder) == 3
    assert recorder.counts(read(whole, "1"), 4 * DAY).tolist() == [3, 2]


def test_what_a_fill_by_other_rules_left_half_done_is_made_good(
    storage: Storage, recorder: Recorder
) -> None:
    class Cut(MemoryStore):
        is_cut = False

        def update(self, changes: Mapping[str, Change]) -> None:
            super().update(changes)
            if self.is_cut:
                raise KeyboardInterrupt

    store = Cut()
    fill(store, storage, recorder)
    store.is_cut = True
    hourly = Recorder(recorder.schema.model_copy(update={"interval_ms": DAY // 24}))
    with pytest.raises(KeyboardInterrupt):
        fill(store, storage, hourly)
    assert read(store, "1").layout == hourly.layout
    store.is_cut = False
    assert fill(store, storage, recorder) == 3
    assert read(store, "1").layout == recorder.layout


def test_data_that_is_replaced_while_it_is_read_fills_nothing(
    tmp_path: Path, storage: Storage, recorder: Recorder
) -> None:
    store = MemoryStore()
    filling = Filling(store, storage, recorder)
    prepare(tmp_path, *PAST, (3, 10, 6, True))
    with pytest.raises(FileNotFoundError):
        filling.run()
    assert Filled.of(store) is None
    assert store.read("1") is None


def test_a_history_longer_than_the_recent_events_outlasts_a_refill(
    tmp_path: Path, storage: Storage, recorder: Recorder
) -> None:
    store = MemoryStore()
    fill(store, storage, recorder)
    num_liked = MAX_RECENT + 10
    for number in range(num_liked):
        store.update({"1": click(recorder, str(number), 7 + number / 1000)})
    prepare(tmp_path, *PAST, (1, 11, 5, True))
    fill(store, storage, recorder)
    liked = [str(number) for number in range(num_liked)]
    assert read(store, "1").item_ids == ["10", "12", "11", *liked]


def test_the_data_s_time_goes_on_and_never_back(
    tmp_path: Path, storage: Storage, recorder: Recorder
) -> None:
    store = MemoryStore()
    fill(store, storage, recorder)
    first = Filled.of(store)
    assert first is not None
    assert first.now_ms(first.wall_ms + 60_000) == 4 * DAY + 60_000
    prepare(tmp_path, *PAST, (3, 10, 2, True))
    fill(store, storage, recorder)
    second = Filled.of(store)
    assert second is not None
    assert second.source != first.source
    assert second.now_ms(0) == first.now_ms(0), "the data ends where it ended"
    prepare(tmp_path, *PAST, (3, 10, 6, True))
    fill(store, storage, recorder)
    third = Filled.of(store)
    assert third is not None
    assert third.data_end_ms == 6 * DAY
    assert third.wall_ms >= first.wall_ms


def test_data_without_a_column_of_the_bundles_tasks_is_refused(
    storage: Storage, recorder: Recorder
) -> None:
    task = recorder.schema.tasks[0].model_copy(update={"column": "is_click"})
    other = Recorder(recorder.schema.model_copy(update={"tasks": (task,)}))
    with pytest.raises(InputError, match="has no 'is_click'"):
        fill(MemoryStore(), storage, other)


def test_other_rules_fill_the_store_again(storage: Storage, recorder: Recorder) -> None:
    store = MemoryStore()
    fill(store, storage, recorder)
    hourly = Recorder(recorder.schema.model_copy(update={"interval_ms": DAY // 24}))
    assert fill(store, storage, hourly) == 3
    assert hourly.counts(read(store, "1"), 3 * DAY + DAY // 24).tolist() == [3, 2]
