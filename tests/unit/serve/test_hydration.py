"""Hydration turns what is known of a user into model inputs."""

import numpy as np

from features.stores.record import UserEvent
from serve.hydration import Hydrator, UserSource
from serve.messages import Request
from tests.toy_bundle import DATA_END_MS, ToyBundle

DAY = 86_400_000


def click(users: UserSource, user_id: str, *item_ids: int, at: int = DATA_END_MS - 2 * DAY) -> None:
    events = [UserEvent(str(i), at + n, {"click": 1.0}) for n, i in enumerate(item_ids)]
    users.store.update({user_id: lambda record: users.recorder.appended(record, events)})


def test_an_unknown_user_has_no_history_and_no_counts(hydrator: Hydrator) -> None:
    query = hydrator.hydrate(Request(user_id="nobody"))
    assert not query.inputs["history_gaps"].any()
    assert not query.inputs["user_codes"].any()
    assert not query.inputs["user_rates"][0, :4].any()
    assert query.history.tolist() == []
    assert query.excluded.tolist() == []


def test_an_id_is_the_same_user_as_a_number_and_as_text(
    hydrator: Hydrator, users: UserSource
) -> None:
    click(users, "7", 105)
    for user_id in (7, "7"):
        assert hydrator.hydrate(Request(user_id=user_id)).history.tolist() == [6]


def test_the_history_is_the_newest_known_items_in_order(
    hydrator: Hydrator, users: UserSource
) -> None:
    click(users, "u", 100, 101, 999, 102, 103, 104, 998, 105)
    query = hydrator.hydrate(Request(user_id="u"))
    assert query.history.tolist() == [2, 3, 4, 5, 6]
    assert query.excluded.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_the_history_is_what_came_strictly_before(hydrator: Hydrator, users: UserSource) -> None:
    click(users, "u", 100, 101, 102, at=1000)
    query = hydrator.hydrate(Request(user_id="u"), now_ms=1002)
    assert query.history.tolist() == [1, 2]


def test_an_event_of_the_same_millisecond_is_in_the_next_answers_history(
    hydrator: Hydrator, users: UserSource
) -> None:
    click(users, "u", 100, at=DATA_END_MS)
    query = hydrator.hydrate(Request(user_id="u"))
    assert query.history.tolist() == [1]
    assert query.now_ms == DATA_END_MS + 1


def test_seen_items_stay_when_they_may_be_seen_again(
    bundle: ToyBundle, users: UserSource, hydrator: Hydrator
) -> None:
    click(users, "u", 100)
    again = Hydrator(bundle, users, counts=hydrator.counts, exclude_seen=False)
    assert 1 not in again.hydrate(Request(user_id="u")).excluded
    assert 1 in hydrator.hydrate(Request(user_id="u")).excluded


def test_what_the_request_excludes_is_excluded(hydrator: Hydrator) -> None:
    query = hydrator.hydrate(Request(user_id=1, exclude=[101, "100", "unknown"]))
    assert query.excluded.tolist() == [0, 1, 2]


def test_attributes_and_context_are_encoded(
    hydrator: Hydrator, users: UserSource, bundle: ToyBundle
) -> None:
    record = users.recorder.empty({"country": "SE", "unread": [1]})
    users.store.update({"u": lambda _: record})
    context = {"surface": "search", "hour": 99, "unread": 5}
    query = hydrator.hydrate(Request(user_id="u", context=context))
    assert query.inputs["user_codes"].tolist() == [[2]]
    # DATA_END_MS is midnight, 31 January 1970: a Saturday.
    assert query.inputs["context_codes"].tolist() == [[2, 1, 6]]


def test_own_counts_are_those_before_the_current_interval(
    hydrator: Hydrator, users: UserSource
) -> None:
    click(users, "u", 100, at=DATA_END_MS - 5)
    earlier = hydrator.hydrate(Request(user_id="u"), now_ms=DATA_END_MS - 1)
    later = hydrator.hydrate(Request(user_id="u"), now_ms=DATA_END_MS)
    assert not earlier.inputs["user_rates"][0, :4].any()
    assert later.inputs["user_rates"][0, :2].all()


def test_inputs_have_the_types_that_the_models_take(hydrator: Hydrator) -> None:
    query = hydrator.hydrate(Request(user_id="u"))
    for name, values in query.inputs.items():
        is_code = name.rpartition("_")[2] in ("codes", "multi", "gaps", "steps")
        assert values.dtype == (np.int64 if is_code else np.float32), name
        assert len(values) == 1
