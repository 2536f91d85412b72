"""Publishing: a bundle is made, tried out, stored, registered, and then becomes the champion."""

from dataclasses import dataclass
from typing import Any

from cluster.storage import Storage
from models.bundle import Bundle, is_undamaged
from retrieval.config import RetrievalSettings
from retrieval.ingredients import Ingredients
from retrieval.making import Announce, make_bundle, silent, try_out
from retrieval.registry import CHAMPION, Registry
from retrieval.shelf import Shelf

KEPT_CHAMPIONS = 3
"""Champions before the present one to which a service can go back."""


@dataclass(frozen=True)
class Published:
    """The outcome of a publication."""

    bundle: str
    version: str
    manifest: dict[str, Any]


def publish(
    settings: RetrievalSettings,
    storage: Storage,
    announce: Announce = silent,
    *,
    alias: str = CHAMPION,
) -> Published:
    """Make a bundle and let it serve.

    The alias moves last, in one transaction: a kill at any moment leaves the champion as it was.

    Args:
        settings: of the recommender.
        storage: holds its prepared data and trained models.
        announce: is told every step before it is taken.
        alias: what the bundle is to be, the champion or its challenger.

    Raises:
        InputError: the artifacts do not fit together, or the index misses its recall.
    """
    ingredients = Ingredients.open(settings, storage)
    shelf = Shelf(storage)
    with shelf.locked():
        with shelf.drafting() as folder:
            bundle_id, facts = make_bundle(folder, ingredients, announce)
            announce("try out")
            try_out(Bundle(folder), ingredients)
            announce("store")
            shelf.put(folder, bundle_id)
        announce("register")
        registry = Registry(storage)
        version = registry.register(bundle_id, _tags(facts))
        announce("promote")
        registry.promote(version, alias)
        announce("prune")
        _prune(registry, shelf, settings.retrieval.keep_bundles)
    return Published(bundle_id, version, facts)


def is_up_to_date(settings: RetrievalSettings, storage: Storage, champion: Bundle) -> bool:
    """Tell whether the champion was made from what is there and is undamaged."""
    identity = Ingredients.open(settings, storage).identity
    return champion.manifest.get("identity") == identity and is_undamaged(champion.folder)


def _tags(facts: dict[str, Any]) -> dict[str, Any]:
    names = ("draft", "fingerprint", "created_at", "index", "recall", "num_items")
    return {name: facts[name] for name in names}


def _prune(registry: Registry, shelf: Shelf, num_kept: int) -> None:
    """Drop all but the newest versions, the latest champions and what has an alias."""
    versions, champions = registry.versions(), registry.standing().champions[: 1 + KEPT_CHAMPIONS]
    kept = {*list(versions)[-num_kept:], *registry.aliases().values()}
    kept |= {number for number, bundle_id in versions.items() if bundle_id in champions}
    for version in versions.keys() - kept:
        registry.delete(version)
    shelf.keep({versions[version] for version in kept})
