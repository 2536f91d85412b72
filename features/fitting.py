"""Between the passes: vocabularies, catalogue, rate tables and schema from the merged counts."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cluster.errors import ConfigError, InputError
from features.catalogue import Catalogue
from features.columns import CLOCK, Column
from features.config import FeatureSettings
from features.counting import coded_counts, feature_codes, rate_table
from features.counts import EMPTY_VALUES, Counts, moments_of, value_counts
from features.encoding import Encoded, Encoder
from features.rates import RateTable
from features.recipe import Recipe
from features.schema import Feature, RateEntity, Schema
from features.vocabulary import Vocabularies, Vocabulary

CLOCK_VALUES = {"hour": 24, "weekday": 7}
MIN_VARIANCE = 1e-9
DIGITS = 6


@dataclass(frozen=True)
class Fitted:
    """What encodes and counts, fitted on the training split."""

    schema: Schema
    vocabularies: Vocabularies
    catalogue: Catalogue
    rates: dict[str, RateTable]

    def save(self, folder: Path) -> None:
        """Write everything where `Examples` looks for it."""
        self.schema.save(folder)
        self.vocabularies.save(folder / "vocabularies")
        self.catalogue.save(folder / "catalogue")
        for name, table in self.rates.items():
            table.save(folder / "rates" / name)


def fit(settings: FeatureSettings, recipe: Recipe, counts: Counts, items: pl.DataFrame) -> Fitted:
    """Fit vocabularies, moments and base rates on training events, count rates over all events.

    Args:
        settings: the configuration.
        recipe: the columns and tasks.
        counts: the merged counts.
        items: the catalogue's raw columns.
    """
    trained = counts.items.group_by("item_id").agg(pl.col("train").sum())
    train = items.select("item_id").join(trained, on="item_id", how="left", maintain_order="left")
    train_events = train["train"].fill_null(0)
    table = items.with_columns(train_events)
    vocabularies = _vocabularies(settings, recipe, counts, table)
    schema = _schema(settings, recipe, vocabularies, counts, table)
    encoded = with_unknown(Encoder(schema, vocabularies).table("item", items))
    catalogue = Catalogue(
        table=items,
        encoded=encoded,
        published_ms=_published_ms(items),
        train_events=np.concatenate([[0], train_events.to_numpy()]).astype(np.int32),
    )
    return Fitted(schema, vocabularies, catalogue, _rates(schema, vocabularies, catalogue, counts))


def with_unknown(encoded: Encoded) -> Encoded:
    """Put the row 0 of unknown owners before encoded rows."""
    arrays = (encoded.codes, encoded.multi, encoded.numbers)
    return Encoded(
        *(np.concatenate([np.zeros_like(a, shape=(1, *a.shape[1:])), a]) for a in arrays)
    )


def rate_entities(
    columns: Sequence[Column], wanted: Sequence[str] | None, *, has_time: bool
) -> tuple[RateEntity, ...]:
    """Choose the entities whose counts are inputs; order-only data has none.

    Raises:
        ConfigError: a name that is no entity.
    """
    keys = {f"{c.owner}.{c.name}": c for c in columns if _can_count(c)}
    known = ["user", "item", *keys]
    if wanted is None:
        wanted = [name for name in known if name.rpartition(".")[2] not in CLOCK]
    for name in wanted:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
            raise ConfigError(f"features.rates.entities: no entity {name!r}; {hint}")
    if not has_time:
        return ()
    return tuple(
        RateEntity(name=name, owner=keys[name].owner, feature=keys[name].name)
        if name in keys
        else RateEntity(name=name, owner="user" if name == "user" else "item")
        for name in dict.fromkeys(wanted)
    )


def _can_count(column: Column) -> bool:
    if column.owner == "user" or column.key == "item.item_id":
        return False
    return column.kind != "numeric"


def _vocabularies(
    settings: FeatureSettings, recipe: Recipe, counts: Counts, items: pl.DataFrame
) -> Vocabularies:
    names = [*recipe.of("item", "categorical"), *recipe.of("item", "multi")]
    parts = [value_counts(items, name, f"item.{name}") for name in names]
    if counts.values is not None:
        parts.append(counts.values)
    if counts.context is not None:
        key = pl.format("context.{}", "column").alias("column")
        parts.append(counts.context.select(key, "value", "train"))
    values = (
        pl.concat([EMPTY_VALUES, *parts]).group_by("column", "value").agg(pl.col("train").sum())
    )
    frequent = values.filter(pl.col("train") >= settings.features.min_count)
    ordered = frequent.sort(["train", "value"], descending=[True, False])
    by_column = {str(key[0]): part for key, part in ordered.group_by("column", maintain_order=True)}
    vocabularies = Vocabularies()
    for column in recipe.columns:
        if column.owner == "context" and column.name in CLOCK:
            fixed = range(CLOCK_VALUES[column.name])
            vocabularies[column.key] = Vocabulary(str(value) for value in fixed)
        elif column.kind != "numeric":
            known = by_column.get(column.key, EMPTY_VALUES)["value"]
            vocabularies[column.key] = Vocabulary(known.to_list())
    return vocabularies


def _schema(
    settings: FeatureSettings,
    recipe: Recipe,
    vocabularies: Vocabularies,
    counts: Counts,
    items: pl.DataFrame,
) -> Schema:
    moments: dict[str, npt.NDArray[np.float64]] = {}
    for stats in counts.stats:
        for key, values in stats["moments"].items():
            moments[key] = moments.get(key, np.zeros(3)) + np.asarray(values)
    trained = items.filter(pl.col("train") > 0)
    features = []
    for column in recipe.columns:
        feature = Feature(name=column.name, owner=column.owner, kind=column.kind)
        if column.kind != "numeric":
            rows = vocabularies[column.key].num_rows
            feature = feature.model_copy(update={"rows": rows})
        else:
            own = moments.get(column.key, np.zeros(3))
            if column.owner == "item":
                own = np.asarray(moments_of(trained[column.name]))
            mean, std = _standard(own)
            feature = feature.model_copy(update={"mean": mean, "std": std})
        features.append(feature)
    config = settings.features
    return Schema(
        recommender=settings.recommender,
        features=tuple(features),
        entities=rate_entities(recipe.columns, config.rates.entities, has_time=recipe.has_time),
        tasks=recipe.tasks,
        base_rates=_base_rates(recipe, counts.stats),
        positive=recipe.positive,
        history_length=config.history_length,
        max_values=config.max_values,
        interval_ms=config.rates.interval,
        utc_offset_ms=config.utc_offset,
        smoothing=config.rates.smoothing,
        has_time=recipe.has_time,
        vocabularies=vocabularies.content,
    )


def _standard(moments: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and deviation, the same for any partitioning; a constant has deviation 1."""
    n, total, squares = (float(value) for value in moments)
    if not n:
        return 0.0, 1.0
    mean = total / n
    variance = squares / n - mean * mean
    deviation = float(np.sqrt(variance)) if variance > MIN_VARIANCE else 1.0
    return round(mean, DIGITS), round(deviation, DIGITS)


def _base_rates(recipe: Recipe, stats: Sequence[dict[str, Any]]) -> tuple[float, ...]:
    present = np.sum([part["labels"] for part in stats], axis=0)
    sums = np.sum([part["label_sums"] for part in stats], axis=0)
    for task, n in zip(recipe.tasks, present, strict=True):
        if not n:
            raise InputError(f"tasks.{task.name}: {task.column!r} has no value in training")
    return tuple(float(rate) for rate in sums / present)


def _published_ms(items: pl.DataFrame) -> npt.NDArray[np.int64]:
    if "published_at" not in items.columns:
        return np.full(items.height + 1, -1, np.int64)
    column = items["published_at"]
    if not column.dtype.is_temporal():
        raise InputError(f"items.published_at is {column.dtype}, not a timestamp")
    published = column.cast(pl.Datetime("ms")).dt.epoch("ms").fill_null(-1).to_numpy()
    return np.concatenate([[-1], np.maximum(published, -1)]).astype(np.int64)


def _rates(
    schema: Schema, vocabularies: Vocabularies, catalogue: Catalogue, counts: Counts
) -> dict[str, RateTable]:
    """Build the table of every entity but the user, whose counts its own partition holds."""
    if not schema.entities:
        return {}
    buckets = counts.items["bucket"]
    first, last = int(buckets.min()), int(buckets.max())  # type: ignore[arg-type]
    rows = pl.DataFrame({"item_id": catalogue.table["item_id"]}).with_row_index("row", offset=1)
    by_row = counts.items.join(rows, on="item_id").drop("item_id", "train")
    tables = {}
    for entity in schema.entities:
        if entity.owner == "item":
            coded = _item_codes(schema, entity, catalogue, by_row)
        elif entity.owner == "context":
            coded = _context_codes(entity, vocabularies, counts.context)
        else:
            continue
        tables[entity.name] = rate_table(coded, first, last - first + 1)
    return tables


def _item_codes(
    schema: Schema, entity: RateEntity, catalogue: Catalogue, by_row: pl.DataFrame
) -> pl.DataFrame:
    if entity.feature is None:
        return by_row.rename({"row": "code"})
    return coded_counts(by_row, feature_codes(schema, "item", entity.feature, catalogue.encoded))


def _context_codes(
    entity: RateEntity, vocabularies: Vocabularies, context: pl.DataFrame | None
) -> pl.DataFrame:
    assert context is not None, entity.name
    values = context.filter(pl.col("column") == entity.feature)
    codes = vocabularies[entity.name].encode(values["value"])
    return values.drop("column", "value", "train").with_columns(pl.Series("code", codes))
