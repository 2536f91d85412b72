"""Filters find items by catalogue columns."""

import numpy as np
import pytest

from serve.filters import Filters, is_permitted
from serve.messages import RequestError
from tests.toy_bundle import ToyBundle


@pytest.fixture(scope="module")
def filters(bundle: ToyBundle) -> Filters:
    return Filters(bundle.catalogue)


def test_no_filter_allows_everything(filters: Filters) -> None:
    assert filters.allowed({}) is None


def test_an_attribute_finds_the_items_that_have_it(filters: Filters, bundle: ToyBundle) -> None:
    rows = filters.allowed({"creator": ["ada"]})
    assert rows is not None
    creators = bundle.catalogue.table["creator"].to_list()
    assert rows.tolist() == [i + 1 for i, creator in enumerate(creators) if creator == "ada"]


def test_several_values_are_alternatives_and_several_attributes_all_hold(
    filters: Filters, bundle: ToyBundle
) -> None:
    rows = filters.allowed({"creator": ["ada", "bo"], "tags": ["sport"]})
    assert rows is not None
    table = bundle.catalogue.table
    wanted = [
        row
        for row, (creator, tags) in enumerate(zip(table["creator"], table["tags"], strict=True), 1)
        if creator in ("ada", "bo") and "sport" in tags
    ]
    assert rows.tolist() == wanted


def test_numbers_are_found_however_they_are_written(filters: Filters) -> None:
    for value in (7, 7.0, "7"):
        assert filters.allowed({"duration_s": [value]}).tolist() == [8]


def test_null_finds_items_without_the_attribute(filters: Filters) -> None:
    assert filters.allowed({"creator": [None]}).tolist() == [1, 11, 21, 31, 41, 51]
    assert 8 in filters.allowed({"tags": [None]})


def test_an_unknown_value_finds_nothing(filters: Filters) -> None:
    assert filters.allowed({"creator": ["eve"]}).tolist() == []


def test_an_unknown_attribute_is_named_with_the_closest_known_one(filters: Filters) -> None:
    with pytest.raises(RequestError, match="did you mean 'creator'") as caught:
        filters.allowed({"creater": ["ada"]})
    assert caught.value.path == ("filters", "creater")


def test_what_is_excluded_or_not_allowed_or_padding_is_not_permitted() -> None:
    rows = np.asarray([0, 1, 2, 3, 4])
    permitted = is_permitted(rows, np.asarray([2, 9]), np.asarray([0, 2, 3]))
    assert permitted.tolist() == [False, False, False, True, False]
