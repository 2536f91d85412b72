"""From trained models to the champion bundle: vectors, index, checks, files, registry."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cluster.storage import Storage
from models.bundle import Bundle, is_undamaged, seal
from retrieval.audience import audience_vectors
from retrieval.config import RetrievalSettings
from retrieval.draft import write_draft
from retrieval.indexes import build_index
from retrieval.ingredients import Ingredients
from retrieval.item_vectors import item_vectors
from retrieval.recall import Truth, check_recall
from retrieval.registry import Registry
from retrieval.shelf import Shelf
from retrieval.user_tower import UserTower

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Published:
    """The outcome of a publication."""

    bundle: str
    version: str
    manifest: dict[str, Any]


def publish(
    settings: RetrievalSettings, storage: Storage, announce: Announce = lambda step: None
) -> Published:
    """Make a bundle and let it serve.

    The alias moves last, in one transaction: a kill at any moment leaves the champion as it was.

    Args:
        settings: of the recommender.
        storage: holds its prepared data and trained models.
        announce: is told every step before it is taken.

    Raises:
        InputError: the artifacts do not fit together, or the index misses its recall.
    """
    ingredients = Ingredients.open(settings, storage)
    shelf = Shelf(storage)
    with shelf.locked():
        with shelf.drafting() as folder:
            facts = _fill(folder, ingredients, announce)
            announce("seal")
            bundle_id = seal(folder, facts)
            announce("store")
            shelf.put(folder, bundle_id)
        registry = Registry(storage)
        announce("register")
        version = registry.register(bundle_id, _tags(facts))
        announce("promote")
        registry.promote(version)
        announce("prune")
        _prune(registry, shelf, settings.retrieval.keep_bundles)
    return Published(bundle_id, version, facts)


def is_up_to_date(settings: RetrievalSettings, storage: Storage, champion: Bundle) -> bool:
    """Tell whether the champion was made from what is there and is undamaged."""
    identity = Ingredients.open(settings, storage).identity
    return champion.manifest.get("identity") == identity and is_undamaged(champion.folder)


def _fill(folder: Path, ingredients: Ingredients, announce: Announce) -> dict[str, Any]:
    """Write everything but the manifest; return the manifest's facts."""
    started = time.monotonic()
    config = ingredients.settings.retrieval
    announce("vectors")
    vectors = item_vectors(ingredients.program("item_tower"), ingredients.examples.catalogue)
    tower = UserTower(ingredients.program("user_tower"))
    users = audience_vectors(
        ingredients.examples, tower, ingredients.data_end_ms, config.index.sampled_users
    )
    announce("index")
    tuning, check = Truth.scan(vectors, users, config.quotas.total).split()
    index = build_index(vectors, tuning, config.index)
    announce("recall")
    recall = check_recall(index, check, config.index.min_recall)
    announce("files")
    write_draft(folder, ingredients, vectors, index)
    return {
        "recommender": ingredients.settings.recommender,
        "identity": ingredients.identity,
        "draft": ingredients.draft,
        "fingerprint": ingredients.examples.schema.fingerprint,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "examples": ingredients.examples.manifest["id"],
        "trained": ingredients.trained_ids,
        "data_end_ms": ingredients.data_end_ms,
        "num_items": len(vectors) - 1,
        "index": index.kind,
        "recall": round(recall, 6),
        "recall_at": check.count,
        "seconds": round(time.monotonic() - started, 1),
    }


def _tags(facts: dict[str, Any]) -> dict[str, Any]:
    names = ("draft", "fingerprint", "created_at", "index", "recall", "num_items")
    return {name: facts[name] for name in names}


def _prune(registry: Registry, shelf: Shelf, num_kept: int) -> None:
    """Drop all but the newest versions and those with an alias."""
    versions = registry.versions()
    kept = {*list(versions)[-num_kept:], *registry.aliases().values()}
    for version in versions.keys() - kept:
        registry.delete(version)
    shelf.keep({versions[version] for version in kept})
