"""A bundle in the making: every file but the manifest, written into a folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt

from features.counting import entity_rows, latest_counts
from retrieval.index import Index
from retrieval.indexes import save_index
from retrieval.ingredients import Ingredients
from retrieval.popularity import Decay, context_column, popularity, ranked_lists


def write_draft(
    folder: Path, ingredients: Ingredients, vectors: npt.NDArray[np.float32], index: Index
) -> None:
    """Write the bundle's content, see `models.bundle.Bundle`."""
    _copy_prepared(folder, ingredients)
    _write_json(folder / "config.json", ingredients.settings.model_dump(mode="json"))
    _write_json(folder / "metrics.json", ingredients.metrics())
    for program in ingredients.program_files():
        shutil.copyfile(program, folder / program.name)
    np.save(folder / "item_vectors.npy", vectors)
    save_index(index, folder / "index")
    _write_counts(folder, ingredients)
    _write_popularity(folder, ingredients)


def _copy_prepared(folder: Path, ingredients: Ingredients) -> None:
    examples = ingredients.examples
    examples.schema.save(folder)
    shutil.copyfile(examples.folder / "profile.json", folder / "profile.json")
    for name in ("vocabularies", "catalogue"):
        shutil.copytree(examples.folder / name, folder / name, copy_function=shutil.copyfile)


def _write_counts(folder: Path, ingredients: Ingredients) -> None:
    """Write what is known of every item, user attribute and context value after all events."""
    examples = ingredients.examples
    schema = examples.schema
    tables = {
        entity.name: examples.rates(entity.name)
        for entity in schema.entities
        if entity.owner != "user"
    }
    items = examples.catalogue.encoded
    np.save(folder / "item_counts.npy", latest_counts(schema, tables, items))
    (folder / "context_counts").mkdir()
    for entity in schema.entities:
        if entity.owner == "item" or entity.feature is None:
            continue
        counts = tables[entity.name].latest(entity_rows(schema, entity, 0))
        np.save(folder / "context_counts" / f"{entity.name}.npy", counts)


def _write_popularity(folder: Path, ingredients: Ingredients) -> None:
    config = ingredients.settings.retrieval.popular
    schema = ingredients.examples.schema
    column = context_column(schema, config.context)
    decay = Decay(ingredients.data_end_ms, config.half_life, schema.has_time)
    sums = popularity(ingredients.examples, decay, column)
    np.save(folder / "popularity.npy", sums[0].astype(np.float32))
    ranked_lists(sums, column).save(folder / "popular")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True))
