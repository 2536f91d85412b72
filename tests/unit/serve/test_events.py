"""Events are checked against the tasks and change the very next answer."""

from typing import Any

import pytest

from serve.events import EventWriter
from serve.hydration import Hydrator, UserSource
from serve.messages import Events, Request, RequestError
from tests.toy_bundle import DATA_END_MS, ToyBundle
from tests.unit.serve.conftest import StoppedClock


@pytest.fixture
def writer(bundle: ToyBundle, users: UserSource) -> EventWriter:
    return EventWriter(bundle.schema, users)


def events(*rows: dict[str, Any]) -> Events:
    return Events.model_validate({"events": [{"user_id": "u", "item_id": 100, **r} for r in rows]})


def counts(users: UserSource, user_id: str = "u") -> list[float]:
    record = users.store.read(user_id)
    assert record is not None
    return [float(n) for n in users.recorder.counts(record, 2 * DATA_END_MS)]


@pytest.mark.parametrize(
    "row",
    [
        {"click": 1},
        {"is_click": True},
        {"labels": {"click": 1.0}},
        {"labels": {"is_click": 1}},
        {"type": "click"},
        {"type": "is_click", "like": 0},
    ],
)
def test_a_click_may_be_written_in_several_ways(
    writer: EventWriter, users: UserSource, row: dict[str, Any]
) -> None:
    assert writer.write(events(row)) == 1
    assert counts(users) == [1, 1, 0, 0]


def test_the_next_answer_knows_the_event(
    writer: EventWriter, users: UserSource, hydrator: Hydrator
) -> None:
    writer.write(events({"type": "click"}, {"item_id": "101", "click": 0}))
    query = hydrator.hydrate(Request(user_id="u"))
    assert query.history.tolist() == [1]
    assert query.excluded.tolist() == [1]


def test_an_event_that_is_sent_again_by_its_id_counts_once(
    writer: EventWriter, users: UserSource, clock: StoppedClock
) -> None:
    for _ in range(2):
        other = {"item_id": 101, "click": 1, "event_id": "b"}
        writer.write(events({"click": 1, "event_id": "a"}, other))
        clock.instant_ms += 1
    assert counts(users) == [2, 2, 0, 0]


def test_an_outcome_completes_the_impression_of_its_id(
    writer: EventWriter, users: UserSource, clock: StoppedClock
) -> None:
    writer.write(events({"type": "impression", "event_id": "a"}))
    clock.instant_ms += 1
    writer.write(events({"click": 1, "event_id": "a"}))
    assert counts(users) == [1, 1, 0, 0]


def test_an_impression_counts_without_being_history(
    writer: EventWriter, users: UserSource, hydrator: Hydrator
) -> None:
    writer.write(events({"type": "impression"}))
    assert counts(users) == [1, 0, 0, 0]
    assert hydrator.hydrate(Request(user_id="u")).history.tolist() == []


def test_a_skip_is_a_known_absence_of_the_positive_label(
    writer: EventWriter, users: UserSource
) -> None:
    writer.write(events({"type": "skip"}))
    record = users.store.read("u")
    assert record is not None
    assert record.recent[0].labels == {"click": 0.0}


def test_an_unknown_item_is_kept_until_a_bundle_knows_it(
    writer: EventWriter, users: UserSource, hydrator: Hydrator
) -> None:
    writer.write(events({"item_id": "new", "type": "click"}))
    record = users.store.read("u")
    assert record is not None
    assert record.item_ids == ["new"]
    assert hydrator.hydrate(Request(user_id="u")).history.tolist() == []


def test_an_event_from_the_future_happens_on_arrival(
    writer: EventWriter, users: UserSource
) -> None:
    writer.write(events({"type": "click", "timestamp": DATA_END_MS + 10**9}))
    writer.write(events({"type": "click", "item_id": 101, "timestamp": DATA_END_MS - 7}))
    record = users.store.read("u")
    assert record is not None
    assert record.item_ms == [DATA_END_MS - 7, DATA_END_MS]


def test_a_batch_may_hold_several_users(writer: EventWriter, users: UserSource) -> None:
    writer.write(events({"type": "click"}, {"user_id": 7, "type": "like"}, {"user_id": "7"}))
    assert counts(users) == [1, 1, 0, 0]
    assert counts(users, "7") == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"clik": 1}, ("events", 1, "clik")),
        ({"labels": {"clik": 1}}, ("events", 1, "labels", "clik")),
        ({"type": "watch_time"}, ("events", 1, "type")),
        ({"type": "skipped"}, ("events", 1, "type")),
        ({"click": 2}, ("events", 1, "click")),
        ({"watch_time": -1}, ("events", 1, "watch_time")),
        ({"labels": {"is_click": -1}}, ("events", 1, "labels", "is_click")),
    ],
)
def test_a_label_that_does_not_fit_is_refused_and_nothing_written(
    writer: EventWriter, users: UserSource, row: dict[str, Any], path: tuple[object, ...]
) -> None:
    with pytest.raises(RequestError) as caught:
        writer.write(events({"type": "click"}, row))
    assert caught.value.path == path
    assert users.store.read("u") is None
