"""The same contract for every online store, and how events change a record."""

import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.errors import InputError
from features.config import TaskConfig
from features.schema import RateEntity, Schema
from features.stores.layouts import Layouts
from features.stores.lmdb import LmdbStore
from features.stores.memory import MemoryStore
from features.stores.record import Record, UserEvent
from features.stores.recorder import MAX_RECENT, Recorder
from features.stores.store import Store

HOUR = 3_600_000
SCHEMA = Schema(
    recommender="toy",
    features=(),
    entities=(RateEntity(name="user", owner="user"),),
    tasks=(
        TaskConfig(name="click", column="is_click"),
        TaskConfig(name="watch_time", column="watch_time_s", kind="watch_time"),
    ),
    base_rates=(0.2, 1.0),
    positive="click",
    history_length=3,
    max_values=2,
    interval_ms=HOUR,
    utc_offset_ms=0,
    smoothing=20.0,
    has_time=True,
    vocabularies="none",
)
RECORDER = Recorder(SCHEMA, max_positives=5)


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else LmdbStore(tmp_path / "online")
    yield made
    made.close()


def event(item_id: str, timestamp_ms: int, **labels: float) -> UserEvent:
    return UserEvent(item_id, timestamp_ms, labels)


def appending(*events: UserEvent) -> Callable[[Record | None], Record]:
    return lambda record: RECORDER.appended(record, events)


def test_an_unknown_user_has_no_record(store: Store) -> None:
    assert store.read("nobody") is None


def test_a_record_comes_back_as_it_was_written(store: Store) -> None:
    record = RECORDER.empty({"country": "SE", "tags": ["a", "b"], "age": 3, "left": None})
    store.update({"u": lambda _: record})
    store.update({"u": appending(event("i", 5, click=1, watch_time=2.5))})
    read = store.read("u")
    assert read is not None
    assert read.attributes == record.attributes
    assert (read.item_ids, read.item_ms) == (["i"], [5])
    assert Record.unpack(read.pack()) == read


def test_users_are_kept_apart_whatever_their_ids(store: Store) -> None:
    ids = ["1", "10", "å", "x" * 600, "x" * 601, " ", "u\u200cv", "\U0001f600" * 200]
    store.update({user: appending(event(f"item of {user}", 5, click=1)) for user in ids})
    for user in ids:
        record = store.read(user)
        assert record is not None
        assert record.item_ids == [f"item of {user}"]


def test_every_user_with_a_record_is_listed(store: Store) -> None:
    ids = [f"user {i}" for i in range(2500)] + ["å", " ", "\U0001f600" * 100]
    store.update({user: appending(event("i", 5, click=1)) for user in ids})
    store.keep_answers({"answer only": b"1"})
    assert sorted(store.user_ids()) == sorted(ids)


def test_lmdb_lists_no_digest_for_an_id_that_is_too_long_for_a_key(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path)
    store.update({user: appending(event("i", 5, click=1)) for user in ("x" * 600, "y")})
    assert list(store.user_ids()) == ["y"]
    store.close()


def test_a_failing_change_changes_nobody(store: Store) -> None:
    def fail(_: Record | None) -> Record:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        store.update({"a": appending(event("i", 5, click=1)), "b": fail})
    assert store.read("a") is None


def test_answers_are_kept_apart_from_records(store: Store) -> None:
    ids = ["1", "10", "x" * 600, "x" * 601]
    store.keep_answers({user: user.encode() for user in ids})
    store.keep_answers({"1": b"later"})
    assert [store.answer(user) for user in ids] == [b"later", *(u.encode() for u in ids[1:])]
    assert store.answer("nobody") is None
    assert store.read("1") is None


def test_an_erased_user_s_answer_is_erased_too(store: Store) -> None:
    store.update({user: appending(event("i", 5, click=1)) for user in "ab"})
    store.keep_answers({"a": b"1", "b": b"2", "c": b"3"})
    assert store.delete("a")
    assert store.delete("c")
    assert store.prune(lambda _: False) == 1
    assert [store.answer(user) for user in "abc"] == [None, None, None]


def test_a_deleted_user_is_unknown(store: Store) -> None:
    store.update({"u": appending(event("i", 5, click=1))})
    assert store.delete("u")
    assert not store.delete("u")
    assert store.read("u") is None


def test_pruning_erases_what_is_refused(store: Store) -> None:
    changes = {f"user {i}": appending(event("i", i, click=1)) for i in range(2500)}
    store.update(changes)
    assert store.prune(lambda record: record.item_ms[0] < 1000) == 1500
    assert store.read("user 999") is not None
    assert store.read("user 1000") is None


def test_facts_are_kept_beside_the_users(store: Store) -> None:
    assert store.fact("filled") is None
    store.update({"filled": appending(event("i", 5, click=1))})
    store.state("filled", "abc")
    assert store.fact("filled") == "abc"


def test_a_record_s_version_is_that_of_its_content(store: Store) -> None:
    assert store.version("u") == b""
    store.update({"u": appending(event("i", 5, click=1))})
    first = store.version("u")
    store.update({"u": appending(event("i", 5, click=1))})
    assert first
    assert store.version("u") == first
    store.update({"u": appending(event("i", 6))})
    assert store.version("u") not in (b"", first)
    store.delete("u")
    assert store.version("u") == b""


def test_a_fact_is_revised_in_one_step(store: Store) -> None:
    def count(old: str | None) -> str:
        return str(int(old or 0) + 1)

    def count_often() -> None:
        for _ in range(20):
            store.revise("count", count)

    threads = [threading.Thread(target=count_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.fact("count") == "80"


def test_lmdb_keeps_everything_when_closed_and_grows_when_full(tmp_path: Path) -> None:
    store = LmdbStore(tmp_path, map_bytes=2**16, sync_interval_s=0)
    ids = [f"user {i}" for i in range(3000)]
    store.update({user: appending(event("i" * 100, 5, click=1)) for user in ids})
    store.close()
    reopened = LmdbStore(tmp_path, map_bytes=2**16)
    assert all(reopened.read(user) for user in ids)
    reopened.close()


def test_lmdb_is_read_while_a_thread_writes(tmp_path: Path) -> None:
    """Requests read on the event loop; a write may wait for one of another process."""
    store = LmdbStore(tmp_path)
    store.update({"u": appending(event("i", 5, click=1))})
    is_writing, is_read = threading.Event(), threading.Event()

    def change(record: Record | None) -> Record:
        is_writing.set()
        assert is_read.wait(30)
        return RECORDER.appended(record, [event("j", 6, click=1)])

    writer = threading.Thread(target=store.update, args=({"u": change},))
    writer.start()
    assert is_writing.wait(30)
    read = store.read("u")
    is_read.set()
    writer.join()
    assert read is not None
    assert read.item_ids == ["i"]
    store.close()


def test_a_file_in_the_way_of_lmdb_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(InputError, match="cannot open the online store"):
        LmdbStore(tmp_path)


def _add_clicks(folder: Path, process: int, num_events: int) -> None:
    store = LmdbStore(folder, map_bytes=2**16)
    for i in range(num_events):
        store.update({"u": appending(event(f"{process}:{i}", i, watch_time=0.0))})
        store.update({f"{process}:{i}": appending(event("x" * 200, i, click=1))})
    store.close()


def test_processes_that_write_the_same_user_lose_nothing(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_add_clicks, args=(tmp_path, p, 300)) for p in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    store = LmdbStore(tmp_path, map_bytes=2**16)
    record = store.read("u")
    assert record is not None
    assert RECORDER.counts(record, HOUR)[0] == 600
    assert store.read("1:299") is not None
    store.close()


def test_counts_appear_with_the_next_interval() -> None:
    record = RECORDER.appended(None, [event("a", HOUR + 5, click=1, watch_time=np.e - 1)])
    assert RECORDER.counts(record, 2 * HOUR - 1).tolist() == [0, 0, 0]
    assert RECORDER.counts(record, 2 * HOUR).tolist() == pytest.approx([1, 1, 1])


def test_an_event_sent_twice_counts_once() -> None:
    sent = event("a", 5, click=1)
    record = RECORDER.appended(RECORDER.appended(None, [sent]), [sent, sent])
    assert record.item_ids == ["a"]
    assert RECORDER.counts(record, HOUR).tolist() == [1, 1, 0]


def test_the_ids_of_events_are_kept(store: Store) -> None:
    named = UserEvent("1", 5, {"click": 1.0}, "first")
    store.update({"u": appending(named)})
    store.update({"u": appending(UserEvent("1", 9, {"click": 1.0}, "first"))})
    store.update({"u": appending(UserEvent("1", 9, {"click": 1.0}, "second"))})
    record = store.read("u")
    assert record is not None
    assert [known.event_id for known in record.recent] == ["first", "second"]


def test_an_outcome_that_comes_later_completes_its_impression() -> None:
    record = RECORDER.appended(None, [event("a", 5), event("b", 6)])
    record = RECORDER.appended(record, [event("a", 5, click=1)])
    assert record.item_ids == ["a"]
    assert RECORDER.counts(record, HOUR).tolist() == [2, 1, 0]


def test_a_late_event_takes_its_place_in_the_history() -> None:
    record = RECORDER.appended(None, [event("b", 3 * HOUR, click=1), event("a", HOUR, click=1)])
    assert record.item_ids == ["a", "b"]
    assert RECORDER.counts(record, 3 * HOUR + 5).tolist() == [1, 1, 0]


def test_labels_of_no_task_are_not_kept() -> None:
    record = RECORDER.appended(None, [event("a", 5, other=1, click=0)])
    assert record.recent[0].labels == {"click": 0}


def test_the_record_is_bounded() -> None:
    events = [event(str(i), i, click=1) for i in range(10 * MAX_RECENT)]
    record = RECORDER.appended(None, events)
    assert record.item_ids == [str(i) for i in range(10 * MAX_RECENT - 5, 10 * MAX_RECENT)]
    assert len(record.recent) == MAX_RECENT


def test_a_record_of_other_rules_is_rebuilt_from_its_live_events() -> None:
    tasks = (SCHEMA.tasks[0],)
    other = Recorder(SCHEMA.model_copy(update={"tasks": tasks, "base_rates": (0.2,)}))
    record = RECORDER.appended(None, [event("a", 5, click=1, watch_time=3)])
    record.attributes["country"] = "SE"
    assert other.counts(record, HOUR).tolist() == [1, 1]
    assert other.appended(record, []).attributes == {"country": "SE"}


@pytest.fixture
def clicks_only(store: Store) -> Recorder:
    """Counts clicks by the day, and knows the rules of whoever stated them."""
    rules = {"tasks": (SCHEMA.tasks[0],), "base_rates": (0.2,), "interval_ms": 24 * HOUR}
    return Recorder(SCHEMA.model_copy(update=rules), max_positives=5, layouts=Layouts(store))


def data_of(recorder: Recorder, num_events: int) -> Record:
    """Return a user's record after an event each hour, filled from data."""
    empty = recorder.empty()
    empty.filled = "data"
    hours = HOUR * np.arange(num_events, dtype=np.int64)
    labels = np.ones((num_events, len(recorder.tasks)), np.float32)
    return recorder.filled(empty, [str(i) for i in range(num_events)], hours, labels)


def test_events_that_come_by_other_rules_keep_what_the_data_told(
    store: Store, clicks_only: Recorder
) -> None:
    Layouts(store).state(SCHEMA)
    filled = data_of(RECORDER, 5)
    record = clicks_only.appended(filled, [event("late", 5 * HOUR, click=1)])
    assert record.layout == RECORDER.layout
    assert record == RECORDER.appended(filled, [event("late", 5 * HOUR, click=1)])
    assert record.filled == "data"


def test_counts_that_both_rules_have_are_read_by_either(
    store: Store, clicks_only: Recorder
) -> None:
    Layouts(store).state(SCHEMA)
    Layouts(store).state(clicks_only.schema)
    assert clicks_only.counts(data_of(RECORDER, 5), 5 * HOUR).tolist() == [5, 5]
    both = Recorder(SCHEMA, layouts=Layouts(store))
    assert both.counts(data_of(clicks_only, 5), 25 * HOUR).tolist() == [5, 5, 0]


def test_a_record_of_rules_that_nobody_stated_is_rebuilt(clicks_only: Recorder) -> None:
    record = clicks_only.appended(data_of(RECORDER, 5), [event("late", 5 * HOUR, click=1)])
    assert (record.layout, record.item_ids) == (clicks_only.layout, ["late"])


def test_a_user_known_from_live_events_changes_to_other_rules_with_all_of_them(
    store: Store, clicks_only: Recorder
) -> None:
    Layouts(store).state(SCHEMA)
    record = RECORDER.appended(None, [event("a", 5, click=1, watch_time=3)])
    record = clicks_only.appended(record, [event("b", 6, click=1)])
    assert (record.layout, record.item_ids) == (clicks_only.layout, ["a", "b"])
    assert clicks_only.counts(record, 25 * HOUR).tolist() == [2, 2]


events_lists = st.lists(
    st.tuples(
        st.integers(0, 5 * HOUR),
        st.integers(0, 9),
        st.sampled_from([0.0, 1.0, np.nan]),
        st.sampled_from([0.0, 2.5, 60.25, np.nan]),
    ),
    min_size=1,
    unique_by=lambda e: (e[0], e[1]),
).map(sorted)


@given(events_lists)
def test_filling_equals_appending_one_by_one(rows: list[tuple[int, int, float, float]]) -> None:
    timestamps, items, *labels = (list(column) for column in zip(*rows, strict=True))
    filled = RECORDER.filled(
        RECORDER.empty(),
        [str(item) for item in items],
        np.asarray(timestamps, np.int64),
        np.asarray(labels, np.float32).T,
    )
    tasks = [task.name for task in SCHEMA.tasks]
    live = RECORDER.empty()
    for moment, item, *values in rows:
        known = {t: v for t, v in zip(tasks, values, strict=True) if not np.isnan(v)}
        live = RECORDER.appended(live, [UserEvent(str(item), moment, known)])
    live.recent = []
    assert filled == live


@given(events_lists, st.randoms())
def test_the_order_of_arrival_does_not_matter(
    rows: list[tuple[int, int, float, float]], random: Random
) -> None:
    events = [
        UserEvent(str(item), moment, {"click": click} if click == click else {})
        for moment, item, click, _ in {row[0]: row for row in rows}.values()
    ]
    shuffled = list(events)
    random.shuffle(shuffled)
    counts = partial(RECORDER.counts, now_ms=9 * HOUR)
    in_order, mixed = RECORDER.appended(None, events), RECORDER.appended(None, shuffled)
    assert counts(in_order).tolist() == counts(mixed).tolist()
    assert in_order.totals == mixed.totals
    assert in_order.item_ids == mixed.item_ids


def _write_forever(folder: Path) -> None:
    store = LmdbStore(folder, sync_interval_s=0)
    number = 0
    while True:
        store.update({"u": appending(event(str(number), number, click=1)), "v": appending()})
        number += 1


def test_a_writer_killed_at_any_moment_leaves_whole_records(tmp_path: Path) -> None:
    LmdbStore(tmp_path).close()
    spawn = multiprocessing.get_context("spawn")
    writer = spawn.Process(target=_write_forever, args=(tmp_path,), daemon=True)
    writer.start()
    store = LmdbStore(tmp_path)
    deadline = time.monotonic() + 30
    while (record := store.read("u")) is None or len(record.recent) < MAX_RECENT:
        assert time.monotonic() < deadline
    writer.kill()
    writer.join()
    store.update({"u": appending(event("last", 10**9, click=1))})
    record = store.read("u")
    assert record is not None
    assert record.item_ids[-1] == "last"
    assert len(record.item_ids) == RECORDER.max_positives
    assert store.read("v") is not None
    store.close()
