"""The bundle: one folder with everything that one version of a recommender needs."""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.errors import InputError
from cluster.storage import MANIFEST, content_hash
from features.assembly import Assembler
from features.catalogue import Catalogue
from features.encoding import Encoder
from features.schema import SCHEMA_FILE, Schema
from features.vocabulary import Vocabularies
from models.runtime.programs import ExportedPrograms, Program, Programs

PROGRAMS = ("user_tower", "item_tower", "ranker_user", "ranker_items", "ranker_batch")
CHUNK = 1 << 20


class _File(BaseModel):
    """One file as the manifest knows it."""

    bytes: int
    sha256: str


class _Manifest(BaseModel):
    """What every bundle's manifest holds; further facts are kept as they are."""

    model_config = ConfigDict(extra="allow")

    id: str
    fingerprint: str
    files: dict[str, _File]


class Bundle:
    """An opened, verified bundle.

    Layout: `manifest.json`, `schema.json`, `config.json` (resolved settings), `metrics.json` (the
    report), `profile.json`, `vocabularies/`, `catalogue/`, the exported programs
    `<name>.pt2`, `item_vectors.npy` (items + 1, dim) float32 unit-norm with row 0 zero,
    `item_counts.npy` (items + 1, item entities, 1 + tasks), `context_counts/<entity>.npy`
    (rows, 1 + tasks) for user-attribute and context entities, `popularity.npy` (items + 1,)
    time-decayed positives, `popular/` (ranked lists by context) and `index/`, which retrieval
    opens. A recommender without a ranker has no `ranker_*` programs, and an older bundle no
    `ranker_batch`.

    Args:
        folder: a published bundle.
        programs: how its programs run; None as they were exported.
    """

    def __init__(self, folder: Path, programs: Programs | None = None) -> None:
        self.folder = folder
        self._programs = programs or ExportedPrograms()
        self.manifest = _verified(folder)
        self.id: str = self.manifest["id"]
        self.schema = _schema(folder, self.manifest["fingerprint"])

    @cached_property
    def config(self) -> dict[str, Any]:
        """The settings it was made with."""
        config: dict[str, Any] = json.loads((self.folder / "config.json").read_text())
        return config

    @cached_property
    def encoder(self) -> Encoder:
        """Encodes users, contexts and items as this version's models expect."""
        return Encoder(self.schema, Vocabularies.open(self.folder / "vocabularies"))

    @cached_property
    def catalogue(self) -> Catalogue:
        """The items."""
        return Catalogue.open(self.folder / "catalogue")

    @cached_property
    def assembler(self) -> Assembler:
        """Turns rows into model inputs."""
        return Assembler(self.schema, self.catalogue)

    def array(self, name: str) -> npt.NDArray[Any]:
        """Memory-map `<name>.npy`."""
        array: npt.NDArray[Any] = np.load(self.folder / f"{name}.npy", mmap_mode="r")
        return array

    @property
    def has_ranker(self) -> bool:
        """Whether it ranks; otherwise the order of retrieval stands."""
        return "ranker_items.pt2" in self.manifest["files"]

    @property
    def has_batch_ranker(self) -> bool:
        """Whether it can rank for several requests in one call."""
        return "ranker_batch.pt2" in self.manifest["files"]

    def program(self, name: str) -> Program:
        """Open one of PROGRAMS."""
        assert name in PROGRAMS, name
        file = f"{name}.pt2"
        return self._programs.open(self.folder / file, self.manifest["files"][file]["sha256"])


def seal(folder: Path, facts: dict[str, Any]) -> str:
    """Write the manifest of a complete bundle folder, last; return the bundle's id.

    Args:
        folder: everything but `manifest.json`.
        facts: recorded in the manifest: recommender, fingerprint, created_at, ...
    """
    files = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": _hash(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    identity = content_hash(files)
    manifest = {"id": identity, **facts, "files": files}
    partial = folder / f".{MANIFEST}"
    partial.write_text(json.dumps(manifest, indent=1))
    partial.replace(folder / MANIFEST)
    return identity


def draft_id(examples: str, trained: Mapping[str, str]) -> str:
    """Name a bundle before it is made, by the ids of its data and its trained models."""
    return content_hash({"examples": examples, "trained": dict(trained)})


def verify_content(folder: Path) -> None:
    """Compare every file's hash with the manifest.

    Raises:
        InputError: names the first file that differs.
    """
    for name, facts in _verified(folder)["files"].items():
        if _hash(folder / name) != facts["sha256"]:
            raise InputError(f"{folder / name}: content differs from the bundle's manifest")


def is_undamaged(folder: Path) -> bool:
    """Tell whether `verify_content` finds nothing wrong."""
    try:
        verify_content(folder)
    except InputError:
        return False
    return True


def _verified(folder: Path) -> dict[str, Any]:
    """Read the manifest and check that every file is there at its full size."""
    try:
        manifest = _Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder}: not a bundle: no {MANIFEST}") from None
    except ValidationError:
        raise InputError(f"{folder / MANIFEST}: not a bundle manifest") from None
    for name, facts in manifest.files.items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size is None:
            raise InputError(f"{folder / name}: missing from the bundle")
        if size != facts.bytes:
            raise InputError(
                f"{folder / name}: truncated bundle: {size} bytes instead of {facts.bytes}"
            )
    return manifest.model_dump()


def _schema(folder: Path, fingerprint: str) -> Schema:
    try:
        schema = Schema.open(folder)
    except (FileNotFoundError, ValidationError):
        raise InputError(f"{folder / SCHEMA_FILE}: not a schema") from None
    if schema.fingerprint != fingerprint:
        raise InputError(
            f"{folder}: bundle of schema {fingerprint}, but its {SCHEMA_FILE} "
            f"is {schema.fingerprint}"
        )
    return schema


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
