"""What is written as TOML is read back as it was."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import TINY
from tune.toml import to_toml

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SCALARS = st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)


@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_nested_values_read_back(values: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(values)) == values


def test_a_config_reads_back() -> None:
    values = tomllib.loads(TINY.read_text())
    assert tomllib.loads(to_toml(values)) == values


def test_what_toml_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="no TOML form: None"):
        to_toml({"a": {"b": None}})
