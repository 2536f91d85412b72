"""What has to be there before a service starts: a sound bundle, and the online store filled."""

from cluster.storage import Storage
from features.examples import EXAMPLES
from features.stores.fill import fill
from models.bundle import Bundle, verify_content
from retrieval.registry import champion
from serve.config import ServeSettings
from serve.equipment import Equipment


def prepare(settings: ServeSettings) -> Bundle:
    """Return the champion, with the online store filled for it.

    Raises:
        InputError: there is no sound bundle that fits the prepared data.
    """
    storage = Storage(settings.storage.root, settings.recommender)
    folder = champion(storage)
    verify_content(folder)
    equipment = Equipment.open(settings, folder)
    users = equipment.users
    try:
        if storage.exists(EXAMPLES):
            fill(users.store, storage, users.recorder)
    finally:
        users.store.close()
    return equipment.bundle
