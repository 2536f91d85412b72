"""What a bundle is made from: prepared data and trained models of one schema."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from cluster.errors import InputError
from cluster.storage import Storage, content_hash
from features.examples import Examples
from models.bundle import draft_id
from retrieval.config import RetrievalSettings

PROGRAMS = {
    "retrieval": ("user_tower", "item_tower"),
    "ranking": ("ranker_user", "ranker_items"),
}
OPTIONAL = ("ranker_batch",)
"""Programs that what was trained before they were thought of has not."""
LAYOUT = 1
"""Counts changes of the bundle's layout, after which a bundle is made anew."""


@dataclass(frozen=True)
class Ingredients:
    """Opened artifacts that fit together."""

    settings: RetrievalSettings
    examples: Examples
    trained: dict[str, Path]
    """Folders of the trained models, by "retrieval" and "ranking"."""

    @classmethod
    def open(cls, settings: RetrievalSettings, storage: Storage) -> "Ingredients":
        """Open what the settings ask for.

        Raises:
            InputError: something is missing, or was made with another schema.
        """
        examples = Examples.open(storage)
        examples.check_settings(settings)
        trained = dict[str, Path]((name, _trained(storage, name)) for name in settings.train.models)
        ingredients = cls(settings, examples, trained)
        for name, manifest in ingredients.manifests.items():
            _check_fingerprint(f"{trained[name]}", manifest, examples)
        return ingredients

    @cached_property
    def manifests(self) -> dict[str, dict[str, Any]]:
        """The trained models' manifests."""
        return {
            name: json.loads((folder / "manifest.json").read_text())
            for name, folder in self.trained.items()
        }

    @property
    def trained_ids(self) -> dict[str, str]:
        """The trained models' ids."""
        return {name: manifest["id"] for name, manifest in self.manifests.items()}

    @property
    def draft(self) -> str:
        """The id under which the training's report knows this bundle."""
        return draft_id(self.examples.manifest["id"], self.trained_ids)

    @property
    def identity(self) -> str:
        """Hash of everything that decides the bundle's content."""
        config = self.settings.retrieval.model_dump(mode="json", exclude={"keep_bundles"})
        return content_hash({"layout": LAYOUT, "draft": self.draft, "retrieval": config})

    @property
    def data_end_ms(self) -> int:
        """The instant of the last event."""
        return int(self.examples.manifest["data_end_ms"])

    def program_files(self) -> Iterator[Path]:
        """Yield the files of all programs that a bundle takes over."""
        for model, folder in self.trained.items():
            yield from (folder / f"{name}.pt2" for name in PROGRAMS[model])
            optional = (folder / f"{name}.pt2" for name in OPTIONAL)
            yield from (file for file in optional if file.is_file())

    def program(self, name: str) -> torch.nn.Module:
        """Load one exported program of the retrieval model."""
        return torch.export.load(self.trained["retrieval"] / f"{name}.pt2").module()

    def metrics(self) -> dict[str, Any]:
        """Return the trained models' figures as one report."""
        report: dict[str, Any] = {
            "recommender": self.settings.recommender,
            "bundle": self.draft,
            "dataset": self.examples.manifest["dataset"],
        }
        for folder in self.trained.values():
            figures = json.loads((folder / "metrics.json").read_text())
            for name, value in figures.items():
                report[name] = _joined(report.get(name), value)
        return report


def _trained(storage: Storage, name: str) -> Path:
    artifact = f"trained/{name}"
    if not storage.exists(artifact):
        where = f"{storage.root}/{storage.recommender}/{artifact}"
        raise InputError(f"{where}: no trained model; run `python -m train CONFIG` first")
    folder = storage.fetch(artifact)
    for program in PROGRAMS[name]:
        if not (folder / f"{program}.pt2").is_file():
            raise InputError(f"{folder}: has no {program}.pt2; run `python -m train CONFIG` again")
    return folder


def _check_fingerprint(where: str, manifest: dict[str, Any], examples: Examples) -> None:
    if manifest["fingerprint"] != examples.schema.fingerprint:
        raise InputError(
            f"{where}: trained on schema {manifest['fingerprint']}, but {examples.folder} has "
            f"{examples.schema.fingerprint}; run `python -m train CONFIG` again"
        )


def _joined(old: Any, new: Any) -> Any:
    """Merge two figures; nested objects are merged, everything else is replaced."""
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: _joined(old.get(name), value) for name, value in new.items()}}
    return new
