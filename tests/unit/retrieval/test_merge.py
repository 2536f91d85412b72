"""Merging: quotas, precedence, shortfalls."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.candidates import Candidates
from retrieval.merge import merge


def candidates(*rows: int) -> Candidates:
    """Return candidates whose score tells their place."""
    return Candidates.of(rows, -np.arange(len(rows)))


def test_every_source_brings_its_quota() -> None:
    merged, source = merge([candidates(1, 2, 3, 4), candidates(5, 6, 7)], [2, 1])
    assert merged.rows.tolist() == [1, 2, 5]
    assert source.tolist() == [0, 0, 1]


def test_a_duplicate_belongs_to_the_first_and_the_later_source_moves_on() -> None:
    merged, source = merge([candidates(1, 2), candidates(2, 1, 8, 9)], [2, 2])
    assert merged.rows.tolist() == [1, 2, 8, 9]
    assert source.tolist() == [0, 0, 1, 1]


def test_a_shortfall_is_filled_by_the_others_in_order() -> None:
    merged, source = merge([candidates(1, 2, 3, 4), candidates(5)], [2, 3])
    assert merged.rows.tolist() == [1, 2, 3, 4, 5]
    assert source.tolist() == [0, 0, 0, 0, 1]


def test_an_item_beyond_a_quota_may_come_from_the_next_source() -> None:
    merged, source = merge([candidates(1, 2, 3), candidates(3, 9)], [1, 1])
    assert merged.rows.tolist() == [1, 3]
    assert merged.scores.tolist() == [0, 0]
    assert source.tolist() == [0, 1]


sources = st.lists(
    st.tuples(st.lists(st.integers(1, 30), unique=True, max_size=25), st.integers(0, 12)),
    min_size=1,
    max_size=4,
)


@given(sources)
def test_merged_is_as_long_as_it_can_be_and_has_no_duplicates(
    sources: list[tuple[list[int], int]],
) -> None:
    found = [candidates(*rows) for rows, _ in sources]
    quotas = [quota for _, quota in sources]
    merged, source = merge(found, quotas)
    distinct = {row for rows, _ in sources for row in rows}
    assert len(merged) == len(set(merged.rows.tolist())) == min(sum(quotas), len(distinct))
    for row, score, number in zip(merged.rows, merged.scores, source, strict=True):
        place = sources[number][0].index(row)
        assert score == -place
    assert (np.diff(source) >= 0).all()


@given(sources)
def test_no_source_falls_below_its_quota_while_it_has_items_of_its_own(
    sources: list[tuple[list[int], int]],
) -> None:
    found = [candidates(*rows) for rows, _ in sources]
    _, source = merge(found, [quota for _, quota in sources])
    for number, (rows, quota) in enumerate(sources):
        others = {row for place, (rs, _) in enumerate(sources) if place != number for row in rs}
        own = [row for row in rows if row not in others]
        assert np.sum(source == number) >= min(quota, len(own))
