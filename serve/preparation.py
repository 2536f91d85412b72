"""What has to be there before a service starts: a sound bundle, and the online store filled."""

from pathlib import Path

from cluster.storage import Storage
from features.stores.fill import TABLES, fill
from models.bundle import Bundle, verify_content
from retrieval.registry import champion
from serve.config import ServeSettings
from serve.equipment import Equipment


def prepare(settings: ServeSettings) -> Bundle:
    """Return the champion, with the online store filled for it.

    Raises:
        InputError: there is no sound bundle that fits the prepared data.
    """
    folder = champion(Storage(settings.storage.root, settings.recommender))
    verify_content(folder)
    fill_store(settings, folder)
    return Bundle(folder)


def fill_store(settings: ServeSettings, bundle_path: Path) -> int:
    """Fill the online store from the prepared data, if there is any, by a bundle's rules.

    Returns:
        How many users were written; 0 when that was done before.

    Raises:
        InputError: the bundle or the prepared data cannot be used, or do not fit together.
    """
    storage = Storage(settings.storage.root, settings.recommender)
    if not storage.exists(TABLES):
        return 0
    users = Equipment.open(settings, bundle_path).users
    try:
        return fill(users.store, storage, users.recorder)
    finally:
        users.store.close()
