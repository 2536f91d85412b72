"""Prepared data is refused under settings that it was not made with."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cluster.errors import InputError
from features.config import FeatureSettings
from features.examples import Examples

VALUES: dict[str, Any] = {
    "recommender": "toy",
    "dataset": {"format": "synthetic", "users": 10},
    "tasks": [{"name": "click", "column": "click"}, {"name": "like", "column": "like"}],
}


def check(prepared: dict[str, Any], wanted: dict[str, Any]) -> None:
    settings = FeatureSettings.model_validate(prepared).preparation
    examples = SimpleNamespace(folder="here", manifest={"settings": settings})
    Examples.check_settings(cast(Examples, examples), FeatureSettings.model_validate(wanted))


def test_the_same_settings_are_accepted() -> None:
    check(VALUES, VALUES)
    check(VALUES, {**VALUES, "storage": {"root": "elsewhere"}})


def test_the_weights_of_tasks_may_change_after_preparation() -> None:
    check(VALUES, {**VALUES, "tasks": [{**task, "weight": 3.0} for task in VALUES["tasks"]]})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"dataset": {"format": "synthetic", "users": 11}}, "dataset.users = 10.*says 11"),
        ({"features": {"split": {"test": "2d"}}}, "features.split.test = 86400000.*172800000"),
        ({"tasks": [{"name": "click", "column": "like"}]}, "tasks = "),
        ({"retrieval": {"positive": "like"}}, "positive = 'click'.*says 'like'"),
        (
            {"tasks": [VALUES["tasks"][0], {"name": "like", "column": "other"}]},
            r"tasks\.1\.column = 'like'.*says 'other'",
        ),
    ],
)
def test_the_first_difference_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=f"here: prepared with {named}"):
        check(VALUES, {**VALUES, **change})
