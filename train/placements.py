"""Checks that `[train] embedding_placement` names tables that the models have."""

from cluster.config import hint
from cluster.errors import ConfigError
from features.schema import Schema
from models.embedding import deferred_tables
from models.ranker import Ranker
from models.tables.placed import is_named, tables_of
from models.tables.placement import DEFAULT
from models.two_tower import TwoTower
from train.config import TrainSettings


def check_placements(settings: TrainSettings, schema: Schema) -> None:
    """Compare the keys with the tables of all models.

    Raises:
        ConfigError: a key names no table.
    """
    keys = [key for key in settings.train.embedding_placement if key != DEFAULT]
    if not keys:
        return
    names = table_names(settings, schema)
    for key in keys:
        if not any(is_named(name, key) for name in names):
            where = f"train.embedding_placement.{key}"
            raise ConfigError(f"{where}: unknown table; {hint(key, names)}")


def table_names(settings: TrainSettings, schema: Schema) -> list[str]:
    """Return the names of all models' tables."""
    with deferred_tables():
        models = (
            TwoTower(schema, settings.models.two_tower),
            Ranker(settings.models.ranker, schema),
        )
    return sorted({name for model in models for name in tables_of(model)})
