"""A storage root of its own with a recommender's bundle, and others that score differently."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from cluster.storage import MANIFEST, Storage
from models.bundle import Bundle, seal
from retrieval.registry import BUNDLES, Registry, champion
from serve.config import ServeSettings

CHANGED = "ranker_items.pt2"
STEP = 0.02
"""Of the factor on the ranker's weights by which bundles differ."""
SEALED = ("id", "files")
OWN = (BUNDLES, "online", "compiled")


@contextmanager
def copied(settings: ServeSettings, num_others: int) -> Iterator[tuple[ServeSettings, list[str]]]:
    """Yield settings of another root and the ids of its bundles; the first one is champion.

    Prepared data is shared with the root that the settings name, in which nothing is changed.

    Args:
        settings: name a root with a champion.
        num_others: bundles to be made beside it.
    """
    given = Storage(settings.storage.root, settings.recommender)
    with TemporaryDirectory(prefix="millrace-switch-") as name:
        storage = Storage(name, settings.recommender)
        storage.local.mkdir(parents=True)
        for entry in given.local.iterdir():
            if entry.name not in OWN and not entry.name.startswith("."):
                (storage.local / entry.name).symlink_to(entry.resolve())
        folder = champion(given)
        ids = [_linked(folder, storage.local / BUNDLES / folder.name)]
        for number in range(1, 1 + num_others):
            ids.append(_changed(folder, storage.local / BUNDLES, 1 + STEP * number))
        registry = Registry(storage)
        versions = [registry.register(bundle_id, {}) for bundle_id in ids]
        registry.promote(versions[0])
        root = settings.storage.model_copy(update={"root": name})
        yield settings.model_copy(update={"storage": root}), ids


def _linked(folder: Path, copy: Path) -> str:
    """Make a bundle of links to another one's files; return its id."""
    for file in folder.rglob("*"):
        if file.is_file():
            (copy / file.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
            (copy / file.relative_to(folder)).symlink_to(file.resolve())
    return Bundle(copy).id


def _changed(folder: Path, bundles: Path, factor: float) -> str:
    """Make a bundle whose ranker has other weights; return its id."""
    draft = bundles / "draft"
    _linked(folder, draft)
    program = torch.export.load(draft / CHANGED)
    with torch.no_grad():
        for weight in program.state_dict.values():
            if weight.is_floating_point():
                weight.mul_(factor)
    (draft / CHANGED).unlink()
    torch.export.save(program, draft / CHANGED)
    manifest = Bundle(folder).manifest
    facts = {name: fact for name, fact in manifest.items() if name not in SEALED}
    (draft / MANIFEST).unlink()
    bundle_id = seal(draft, facts)
    draft.rename(bundles / bundle_id)
    return bundle_id
