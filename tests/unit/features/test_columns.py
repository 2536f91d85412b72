"""Inputs from Arrow types, with overrides that are checked."""

import pyarrow as pa
import pytest

from cluster.errors import ConfigError, InputError
from features.columns import Schemas, infer_columns
from features.config import FeaturesConfig, TaskConfig

TASKS = (TaskConfig(name="click", column="is_click"),)
EVENTS = pa.schema(
    {
        "user_id": pa.int64(),
        "item_id": pa.int64(),
        "timestamp": pa.timestamp("ms", "UTC"),
        "is_click": pa.bool_(),
        "is_hate": pa.bool_(),
        "dwell": pa.float64(),
        "tab": pa.string(),
        "device": pa.dictionary(pa.int32(), pa.string()),
        "request_id": pa.string(),
        "position": pa.int32(),
        "propensity": pa.float64(),
        "split": pa.string(),
    }
)
ITEMS = pa.schema(
    {
        "item_id": pa.int64(),
        "title": pa.string(),
        "author": pa.large_string(),
        "tags": pa.list_(pa.string()),
        "duration_s": pa.float32(),
        "adult": pa.bool_(),
        "published_at": pa.timestamp("ms", "UTC"),
        "edited_at": pa.timestamp("us"),
    }
)
USERS = pa.schema({"user_id": pa.int64(), "country": pa.string(), "age": pa.int8()})
SCHEMAS = Schemas(EVENTS, ITEMS, USERS)


def keys(config: FeaturesConfig, *, has_time: bool = True) -> dict[str, str]:
    columns = infer_columns(SCHEMAS, config, TASKS, has_time=has_time)
    return {column.key: column.kind for column in columns}


def test_types_decide() -> None:
    assert keys(FeaturesConfig()) == {
        "user.country": "categorical",
        "user.age": "numeric",
        "item.item_id": "categorical",
        "item.author": "categorical",
        "item.tags": "multi",
        "item.duration_s": "numeric",
        "item.adult": "categorical",
        "context.tab": "categorical",
        "context.device": "categorical",
        "context.hour": "categorical",
        "context.weekday": "categorical",
    }


def test_outcomes_become_context_only_when_named() -> None:
    found = keys(FeaturesConfig(context=("dwell", "is_hate")))
    assert found["context.dwell"] == "numeric"
    assert found["context.is_hate"] == "categorical"


def test_overrides_win() -> None:
    overrides = {
        "user.age": "categorical",
        "item.author": "ignore",
        "context.hour": "ignore",
        "item.item_id": "ignore",
    }
    found = keys(FeaturesConfig(columns=overrides))
    assert found["user.age"] == "categorical"
    assert not {"item.author", "context.hour", "item.item_id"} & set(found)


def test_order_only_data_has_no_hours() -> None:
    assert not {"context.hour", "context.weekday"} & set(keys(FeaturesConfig(), has_time=False))


@pytest.mark.parametrize("name", ["is_click", "position", "propensity", "split", "request_id"])
def test_labels_and_logging_columns_are_never_inputs(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name!r} is never an input"):
        keys(FeaturesConfig(context=(name,)))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (FeaturesConfig(context=("tabb",)), "no event column 'tabb'; did you mean 'tab'"),
        (FeaturesConfig(columns={"item.autor": "ignore"}), "did you mean 'item.author'"),
        (FeaturesConfig(columns={"item.author": "numeric"}), "cannot be 'numeric'"),
        (FeaturesConfig(columns={"item.tags": "categorical"}), "cannot be 'categorical'"),
        (FeaturesConfig(columns={"user.country": "multi"}), "cannot be 'multi'"),
        (FeaturesConfig(columns={"item.edited_at": "numeric"}), "cannot be 'numeric'"),
    ],
)
def test_what_does_not_fit_is_named(config: FeaturesConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        keys(config)


def test_a_context_column_may_not_take_the_clock_s_name() -> None:
    schemas = SCHEMAS._replace(events=EVENTS.append(pa.field("hour", pa.string())))
    with pytest.raises(InputError, match=r"events\.hour"):
        infer_columns(schemas, FeaturesConfig(), TASKS, has_time=True)
