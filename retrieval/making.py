"""Making a bundle: item vectors, index, recall check, files, manifest."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.bundle import Bundle, seal
from retrieval.audience import audience_inputs, audience_vectors
from retrieval.draft import write_draft
from retrieval.index import Index
from retrieval.indexes import build_index
from retrieval.ingredients import Ingredients
from retrieval.item_vectors import item_vectors
from retrieval.precision import lower_precision
from retrieval.recall import Truth, check_recall
from retrieval.retriever import Retriever
from retrieval.user_tower import UserTower

Announce = Callable[[str], None]
"""Is told every step before it is taken."""


def silent(step: str) -> None:
    """Announce nothing."""


@dataclass(frozen=True)
class Searchable:
    """Item vectors (items + 1, dim) under an index that passed its check."""

    vectors: npt.NDArray[np.float32]
    index: Index
    recall: float
    recall_at: int


def make_bundle(
    folder: Path, ingredients: Ingredients, announce: Announce = silent
) -> tuple[str, dict[str, Any]]:
    """Fill an empty folder with a checked, sealed bundle; return its id and manifest's facts.

    Raises:
        InputError: the item vectors are broken, the index misses its recall, or the ranker suffers
            from its precision.
    """
    started = time.monotonic()
    searchable = _searchable(ingredients, announce)
    announce("files")
    write_draft(folder, ingredients, searchable.vectors, searchable.index)
    precision = ingredients.settings.retrieval.ranker
    if precision.precision != "fp32":
        announce("precision")
    ranker = lower_precision(folder, ingredients.examples, precision)
    announce("seal")
    facts = {
        **_facts(ingredients),
        "num_items": len(searchable.vectors) - 1,
        "index": searchable.index.kind,
        "recall": round(searchable.recall, 6),
        "recall_at": searchable.recall_at,
        "ranker": ranker,
        "seconds": round(time.monotonic() - started, 1),
    }
    return seal(folder, facts), facts


def try_out(bundle: Bundle, ingredients: Ingredients) -> None:
    """Load every program and answer a few real users, as the service will."""
    retriever = Retriever.open(bundle, ingredients.settings.retrieval)
    for inputs in audience_inputs(ingredients.examples, ingredients.data_end_ms, 1):
        found = retriever.retrieve(inputs, now_ms=ingredients.data_end_ms)
        assert len(found), f"{bundle.folder}: retrieves nothing"
    if bundle.has_ranker:
        bundle.program("ranker_user")
        bundle.program("ranker_items")
    if bundle.has_batch_ranker:
        bundle.program("ranker_batch")


def _searchable(ingredients: Ingredients, announce: Announce) -> Searchable:
    """Embed the catalogue, index it, and check the index on users that it was not tuned on."""
    config = ingredients.settings.retrieval
    announce("vectors")
    examples, end_ms = ingredients.examples, ingredients.data_end_ms
    vectors = item_vectors(ingredients.program("item_tower"), examples.catalogue)
    tower = UserTower(ingredients.program("user_tower"))
    users = audience_vectors(examples, tower, end_ms, config.index.sampled_users)
    announce("index")
    tuning, check = Truth.scan(vectors, users, config.quotas.total).split()
    index = build_index(vectors, tuning, config.index)
    announce("recall")
    recall = check_recall(index, check, config.index.min_recall)
    return Searchable(vectors, index, recall, check.count)


def _facts(ingredients: Ingredients) -> dict[str, Any]:
    return {
        "recommender": ingredients.settings.recommender,
        "identity": ingredients.identity,
        "draft": ingredients.draft,
        "fingerprint": ingredients.examples.schema.fingerprint,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "examples": ingredients.examples.manifest["id"],
        "trained": ingredients.trained_ids,
        "data_end_ms": ingredients.data_end_ms,
    }
