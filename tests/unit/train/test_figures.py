"""Nested figures."""

import math

from train.figures import flat, merged, without_nan


def test_keys_of_nested_figures_are_joined() -> None:
    nested = {"a": 1, "b": {"c": 2, "d": {"e": 3}}, "f": None}
    assert flat(nested) == {"a": 1, "b.c": 2, "b.d.e": 3}
    assert flat({"b": {"c": 2}}, "test/", "/") == {"test/b/c": 2}


def test_mappings_are_merged_and_neither_is_changed() -> None:
    first, second = {"x": {"a": 1}, "y": 1}, {"x": {"b": 2}, "z": 3}
    assert merged(first, second) == {"x": {"a": 1, "b": 2}, "y": 1, "z": 3}
    assert first == {"x": {"a": 1}, "y": 1}


def test_what_is_not_a_number_becomes_none() -> None:
    assert without_nan({"a": math.nan, "b": {"c": math.inf, "d": 0.5, "e": 3}}) == {
        "a": None,
        "b": {"c": None, "d": 0.5, "e": 3},
    }
