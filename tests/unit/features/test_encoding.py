"""Tables and single records are encoded alike."""

from typing import Any

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from features.encoding import Encoded, Encoder, hour_codes, weekday_codes
from features.schema import Feature, Schema
from features.vocabulary import Vocabularies, Vocabulary

WIDTH = 3
VOCABULARIES = Vocabularies(
    {"item.color": Vocabulary(["red", "green"]), "item.tags": Vocabulary(["x", "y", "z"])}
)
SCHEMA = Schema(
    recommender="toy",
    features=(
        Feature(name="color", owner="item", kind="categorical", rows=3),
        Feature(name="tags", owner="item", kind="multi", rows=4),
        Feature(name="size", owner="item", kind="numeric", mean=1.0, std=2.0),
    ),
    entities=(),
    tasks=(),
    base_rates=(),
    positive="click",
    history_length=1,
    max_values=WIDTH,
    interval_ms=1,
    utc_offset_ms=0,
    smoothing=1.0,
    has_time=True,
    vocabularies=VOCABULARIES.content,
)
ENCODER = Encoder(SCHEMA, VOCABULARIES)
RECORDS = st.lists(
    st.fixed_dictionaries(
        {
            "color": st.one_of(st.none(), st.sampled_from(["red", "green", "blue"])),
            "tags": st.one_of(
                st.none(), st.lists(st.sampled_from(["x", "y", "z", "?"]), max_size=6)
            ),
            "size": st.one_of(st.none(), st.floats(-1e9, 1e9)),
        }
    )
)


@given(RECORDS)
def test_a_table_equals_its_records(records: list[dict[str, Any]]) -> None:
    types = {"color": pl.String, "tags": pl.List(pl.String), "size": pl.Float64}
    table = ENCODER.table("item", pl.DataFrame(records, schema=types))
    assert table.codes.shape == (len(records), 1)
    assert table.multi.shape == (len(records), 1, WIDTH)
    for row, record in enumerate(records):
        single = ENCODER.record("item", record)
        np.testing.assert_array_equal(table.codes[row], single.codes[0])
        np.testing.assert_array_equal(table.multi[row], single.multi[0])
        np.testing.assert_array_equal(table.numbers[row], single.numbers[0])


def test_missing_columns_are_unknown() -> None:
    encoded = ENCODER.table("item", pl.DataFrame({"other": [1, 2]}))
    assert not encoded.codes.any()
    assert not encoded.multi.any()
    assert not encoded.numbers.any()


def test_numbers_are_compressed_and_standardised() -> None:
    encoded = ENCODER.record("item", {"size": -np.expm1(3.0)})
    assert encoded.numbers[0, 0] == np.float32((-3.0 - 1.0) / 2.0)


def test_rows_are_gathered_in_any_shape() -> None:
    encoded = ENCODER.table("item", pl.DataFrame({"color": ["red", "green"]}))
    taken = encoded.take(np.asarray([[0, 1], [1, 1]]))
    assert taken.codes[..., 0].tolist() == [[1, 2], [2, 2]]
    assert isinstance(taken, Encoded)


def test_the_clock_is_local() -> None:
    thursday_noon = np.asarray([12 * 3_600_000])
    assert hour_codes(thursday_noon, 0).tolist() == [13]
    assert weekday_codes(thursday_noon, 0).tolist() == [4]
    assert hour_codes(thursday_noon, 13 * 3_600_000).tolist() == [2]
    assert weekday_codes(thursday_noon, 13 * 3_600_000).tolist() == [5]
