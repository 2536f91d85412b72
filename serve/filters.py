"""Which items a request may be answered with: attribute filters, and the last check."""

import difflib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from features.catalogue import Catalogue
from features.vocabulary import canonical, canonical_column
from serve.messages import RequestError

Rows = npt.NDArray[np.int64]
NOTHING: Rows = np.zeros(0, np.int64)


class Filters:
    """Finds items by the values of catalogue columns."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._table = catalogue.table
        self._rows: dict[str, dict[str | None, Rows]] = {}
        self._lock = threading.Lock()

    def allowed(self, filters: Mapping[str, Sequence[Any]]) -> Rows | None:
        """Return the sorted item rows that have one of the values in every column.

        Returns:
            None where there is no filter. A value of None finds items without one.

        Raises:
            RequestError: names a column that the catalogue does not have.
        """
        allowed: Rows | None = None
        for name, values in filters.items():
            found = self._find(name, values)
            allowed = found if allowed is None else np.intersect1d(allowed, found)
        return allowed

    def missed(self, filters: Mapping[str, Sequence[Any]], row: int) -> str | None:
        """Tell the first filter that an item does not pass; None where it passes all."""
        for name, values in filters.items():
            if row not in self._find(name, values):
                return f"its {name} is {self._table[name][row - 1]!r}, wanted: {values}"
        return None

    def _find(self, name: str, values: Sequence[Any]) -> Rows:
        if name not in self._table.columns:
            raise RequestError(("filters", name), self._unknown(name))
        rows = self._rows_by_value(name)
        keys = {None if value is None else canonical(value) for value in values}
        found = [rows.get(key, NOTHING) for key in keys]
        return found[0] if len(found) == 1 else np.unique(np.concatenate([NOTHING, *found]))

    def _rows_by_value(self, name: str) -> dict[str | None, Rows]:
        with self._lock:
            if name not in self._rows:
                self._rows[name] = _rows_by_value(self._table[name])
            return self._rows[name]

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name, self._table.columns, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else "has " + ", ".join(self._table.columns)
        return f"the catalogue has no such attribute; {hint}"


def is_permitted(rows: Rows, excluded: Rows, allowed: Rows | None) -> npt.NDArray[np.bool_]:
    """Tell which rows (n,) are real items, not excluded, and allowed."""
    permitted = (rows > 0) & ~_contains(excluded, rows)
    return permitted if allowed is None else permitted & _contains(allowed, rows)


def _contains(sorted_rows: Rows, rows: Rows) -> npt.NDArray[np.bool_]:
    if not len(sorted_rows):
        return np.zeros(len(rows), np.bool_)
    places = np.minimum(np.searchsorted(sorted_rows, rows), len(sorted_rows) - 1)
    return np.asarray(sorted_rows[places] == rows)


def _rows_by_value(column: pl.Series) -> dict[str | None, Rows]:
    """Return the sorted rows that have each value."""
    rows = pl.Series("row", np.arange(1, len(column) + 1))
    table = pl.DataFrame({"value": column, "row": rows})
    if isinstance(column.dtype, pl.List):
        table = table.explode("value", empty_as_null=True).unique(maintain_order=True)
    table = table.with_columns(canonical_column(table["value"]))
    groups = table.group_by("value", maintain_order=True).agg("row").iter_rows()
    return {value: np.asarray(rows, np.int64) for value, rows in groups}
