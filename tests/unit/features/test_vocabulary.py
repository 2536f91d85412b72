"""Values to rows: the same for columns and single values, unknown is row 0."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.vocabulary import Vocabularies, Vocabulary, canonical, canonical_column

NUMBERS = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False))


def test_row_zero_is_unknown_and_missing() -> None:
    vocabulary = Vocabulary(["b", "a"])
    assert [vocabulary.row(v) for v in ("b", "a", "c", None)] == [1, 2, 0, 0]
    assert vocabulary.num_rows == 3


@pytest.mark.parametrize("value", [1, 1.0, "1"])
def test_one_is_one_in_every_type(value: object) -> None:
    assert canonical(value) == "1"


@given(st.lists(st.one_of(st.none(), st.text())))
def test_columns_and_values_agree_on_text(values: list[str | None]) -> None:
    vocabulary = Vocabulary(sorted({v for v in values if v is not None})[::2])
    column = pl.Series(values, dtype=pl.String)
    assert vocabulary.encode(column).tolist() == [vocabulary.row(v) for v in values]


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False, allow_infinity=False))))
def test_columns_and_values_agree_on_floats(values: list[float | None]) -> None:
    column = canonical_column(pl.Series(values, dtype=pl.Float64))
    assert column.to_list() == [None if v is None else canonical(v) for v in values]


@given(st.lists(st.one_of(st.none(), st.booleans(), st.none())))
def test_columns_and_values_agree_on_truth(values: list[bool | None]) -> None:
    column = canonical_column(pl.Series(values, dtype=pl.Boolean))
    assert column.to_list() == [None if v is None else canonical(v) for v in values]


def test_saving_keeps_order_and_content(tmp_path: Path) -> None:
    vocabularies = Vocabularies({"item.a": Vocabulary(["z", "ä", ""]), "user.b": Vocabulary([])})
    vocabularies.save(tmp_path)
    opened = Vocabularies.open(tmp_path)
    assert {k: v.values for k, v in opened.items()} == {"item.a": ["z", "ä", ""], "user.b": []}
    assert opened.content == vocabularies.content
