"""Values to embedding rows: row 0 is unknown, the rest are frequent training values."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from cluster.storage import content_hash


def canonical(value: object) -> str:
    """Return the text under which a value is known, the same for 1, 1.0 and "1"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def canonical_column(values: pl.Series) -> pl.Series:
    """Apply `canonical` to a column, nulls kept."""
    if not values.dtype.is_float():
        return values.cast(pl.String)
    known = values.unique().drop_nulls()
    texts = pl.Series([canonical(value) for value in known.to_list()], dtype=pl.String)
    return values.replace_strict(known, texts, default=None)


class Vocabulary:
    """The known values of one column, in row order from row 1."""

    def __init__(self, values: Iterable[str]) -> None:
        self.values = list(values)
        self._rows = {value: row for row, value in enumerate(self.values, start=1)}

    @property
    def num_rows(self) -> int:
        """Embedding rows including row 0."""
        return len(self.values) + 1

    def row(self, value: object) -> int:
        """Return the row of one value; 0 when it is missing or unknown."""
        return 0 if value is None else self._rows.get(canonical(value), 0)

    def encode(self, column: pl.Series) -> npt.NDArray[np.int32]:
        """Return the rows of a column, int32 of its length."""
        known = pl.Series(self.values, dtype=pl.String)
        rows = pl.Series(np.arange(1, self.num_rows, dtype=np.int32))
        encoded = canonical_column(column).replace_strict(known, rows, default=0)
        return encoded.cast(pl.Int32).to_numpy()


class Vocabularies(dict[str, Vocabulary]):
    """Vocabularies keyed "<owner>.<column>"."""

    @property
    def content(self) -> str:
        """Hash over every value in order."""
        return content_hash({name: vocabulary.values for name, vocabulary in self.items()})

    def save(self, folder: Path) -> None:
        """Write one Parquet file per vocabulary."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, vocabulary in self.items():
            values = pl.DataFrame({"value": pl.Series(vocabulary.values, dtype=pl.String)})
            values.write_parquet(folder / f"{name}.parquet")

    @classmethod
    def open(cls, folder: Path) -> "Vocabularies":
        """Read what `save` wrote."""
        files = sorted(folder.glob("*.parquet"))
        return cls((f.stem, Vocabulary(pl.read_parquet(f)["value"].to_list())) for f in files)
