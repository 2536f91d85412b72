"""Messages refuse what cannot be meant, naming the field."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from serve.messages import MAX_EXCLUDED, Event, Events, Request


def problem(model: type[Request] | type[Events], value: Any) -> tuple[tuple[Any, ...], str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    first = caught.value.errors()[0]
    return first["loc"], first["msg"]


def test_a_user_id_is_enough() -> None:
    request = Request.model_validate({"user_id": 7})
    assert (request.num_items, request.context, request.exclude) == (20, {}, [])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", True),
        ("user_id", 1.5),
        ("user_id", None),
        ("user_id", ""),
        ("user_id", "x" * 257),
        ("user_id", "line\nbreak"),
        ("user_id", 2**63),
        ("num_items", 0),
        ("num_items", 10**9),
        ("num_items", "20"),
        ("num_items", 2.0),
        ("num_items", True),
        ("explain", 1),
        ("context", []),
        ("context", {str(i): 1 for i in range(65)}),
        ("exclude", "a"),
        ("exclude", list(range(MAX_EXCLUDED + 1))),
        ("filters", {str(i): 1 for i in range(17)}),
        ("num_itmes", 3),
    ],
)
def test_a_wrong_value_is_refused_by_field(field: str, value: object) -> None:
    loc, _ = problem(Request, {"user_id": 1, field: value})
    assert loc[0] == field


@pytest.mark.parametrize(
    ("request_part", "loc"),
    [
        ({"context": {"tab": {"a": 1}}}, ("context", "tab")),
        ({"context": {"tab": float("nan")}}, ("context", "tab")),
        ({"exclude": [1, 2.5]}, ("exclude", 1)),
        ({"filters": {"genre": []}}, ("filters", "genre")),
        ({"filters": {"genre": [["deep"]]}}, ("filters", "genre")),
    ],
)
def test_a_wrong_part_is_refused_by_its_path(
    request_part: dict[str, object], loc: tuple[object, ...]
) -> None:
    assert problem(Request, {"user_id": 1, **request_part})[0] == loc


def test_a_filter_takes_one_value_or_several() -> None:
    request = Request.model_validate({"user_id": 1, "filters": {"a": "x", "b": [1, None]}})
    assert request.filters == {"a": ["x"], "b": [1, None]}


def test_event_labels_may_lie_beside_the_ids() -> None:
    event = Event.model_validate({"user_id": 1, "item_id": "a", "click": True, "watch": 2.5})
    assert event.model_extra == {"click": 1.0, "watch": 2.5}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        (5, 5),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01T02:00:01.5+02:00", 1500),
    ],
)
def test_an_instant_is_milliseconds_or_iso(text: object, instant: int) -> None:
    event = Event.model_validate({"user_id": 1, "item_id": 2, "timestamp": text})
    assert event.timestamp == instant


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", -1),
        ("timestamp", 10**16),
        ("timestamp", "yesterday"),
        ("timestamp", 1.5),
        ("click", "yes"),
        ("click", float("inf")),
        ("type", ""),
    ],
)
def test_a_wrong_event_is_refused_by_its_path(field: str, value: object) -> None:
    events = {"events": [{"user_id": 1, "item_id": 2}, {"user_id": 1, "item_id": 2, field: value}]}
    assert problem(Events, events)[0] == ("events", 1, field)


def test_no_events_are_refused() -> None:
    assert problem(Events, {"events": []})[0] == ("events",)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
field_names = st.sampled_from([*Request.model_fields, *Event.model_fields, "click"])


@given(st.dictionaries(field_names, json_values, max_size=6))
def test_any_object_is_taken_or_refused(value: dict[str, Any]) -> None:
    for model, body in ((Request, value), (Events, {"events": [value]})):
        with suppress(ValidationError):
            model.model_validate(body)
