"""What a batch is asked to make: for whom, by which bundle, on which terms; and where it stands."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from pyarrow import compute, parquet
from pydantic import ValidationError

from cluster.errors import ConfigError, InputError
from cluster.storage import Storage, content_hash
from features.examples import Examples
from features.stores.filled import Filled
from features.vocabulary import canonical_column
from models.bundle import Bundle
from serve.bulk import Terms
from serve.chunks import Order
from serve.config import ServeSettings
from serve.edition import Edition, Manifest
from serve.equipment import Equipment
from serve.messages import Request
from serve.shared import Shared

USER_ID = "user_id"
DERIVED = ("hour", "weekday")
"""Context columns that follow from the instant."""


@dataclass(frozen=True)
class Users:
    """Whose answers are made."""

    ids: pa.Array
    """Each once, in the data's own type."""
    identity: str
    """Where they come from: of users who come later, an edition that was begun knows nothing."""
    num_foreign: int = 0
    """How many more there are whose ids are not of the data's type."""

    @classmethod
    def of(cls, settings: ServeSettings, path: Path | None) -> "Users":
        """Return the users of a Parquet file, or all.

        All are those of the prepared data, in its order, and then those whom only live events
        know, in that of their ids.

        Raises:
            InputError: there is no such file, column or data.
        """
        if path is not None:
            return cls(_ids(path), hashlib.sha256(path.read_bytes()).hexdigest())
        examples = Examples.open(Storage(settings.storage.root, settings.recommender))
        prepared = _plain(examples.user_ids.to_arrow())
        store = Shared(settings).store
        try:
            recorded = pl.Series(store.user_ids(), dtype=pl.String)
        finally:
            store.close()
        live = recorded.filter(~recorded.is_in(canonical_column(examples.user_ids).implode()))
        typed = _as_typed(live, prepared.type)
        ids = pa.concat_arrays([prepared, typed])
        return cls(ids, examples.manifest["id"], len(live) - len(typed))


@dataclass(frozen=True)
class Commission:
    """One batch, before the first answer is made."""

    settings: ServeSettings
    bundle: Bundle
    users: Users
    num_items: int
    context: Mapping[str, Any]
    chunk_users: int
    is_stored: bool

    def order(self, output: str, *, is_forced: bool = False) -> tuple[Order, Manifest]:
        """Return what is to be made, going on where an earlier run of the same batch stopped.

        Args:
            output: the edition's folder.
            is_forced: begin anew whatever the folder holds.

        Raises:
            InputError: the folder holds another edition, or something else.
            ConfigError: the context is not one.
        """
        _check_context(self.bundle, self.context)
        edition = Edition(output)
        now_ms, filled = self._moment()
        manifest = edition.manifest()
        identity = self._identity(filled)
        if manifest is None or is_forced:
            num_chunks = -(-len(self.users.ids) // self.chunk_users)
            sizes = (len(self.users.ids), num_chunks)
            manifest = Manifest(identity, self.bundle.id, *sizes, made_ms=now_ms)
            edition.begin(manifest, self.users.ids, self.chunk_users)
        elif manifest.id != identity:
            raise InputError(
                f"--output {output}: {self._difference(manifest)}; --force begins anew"
            )
        terms = Terms(self.num_items, self.context, manifest.made_ms)
        return Order(self.settings, self.bundle.id, edition, terms, self.is_stored), manifest

    def _moment(self) -> tuple[int, str]:
        """Return the instant of the service's clock, and what the online store was filled from."""
        users = Equipment(self.settings, self.bundle, Shared(self.settings)).users
        try:
            filled = Filled.of(users.store)
            return users.clock.now_ms(), filled.source if filled else ""
        finally:
            users.store.close()

    def _identity(self, filled: str) -> str:
        """Hash what the answers depend on, and where they go."""
        serve = self.settings.serve
        return content_hash(
            {
                "bundle": self.bundle.id,
                "store": filled,
                "users": self.users.identity,
                "num_items": self.num_items,
                "context": dict(self.context),
                "chunk_users": self.chunk_users,
                "is_stored": self.is_stored,
                "retrieval": self.settings.retrieval.model_dump(),
                "serve": serve.model_dump(include={"clock", "value", "rerank", "store"}),
            }
        )

    def _difference(self, manifest: Manifest) -> str:
        if manifest.bundle != self.bundle.id:
            return (
                f"holds answers of bundle {manifest.bundle}, and the champion is {self.bundle.id}"
            )
        return "holds answers that were made with other users, options or settings"


def _check_context(bundle: Bundle, context: Mapping[str, Any]) -> None:
    """Refuse what HTTP would refuse, and columns that no model reads."""
    known = [f.name for f in bundle.schema.features if f.owner == "context"]
    known = [name for name in known if name not in DERIVED]
    for name, value in context.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise ConfigError(f"--context {name}={value}: no such context column; has {names}")
    try:
        Request(user_id=0, context=dict(context))
    except ValidationError as error:
        raise ConfigError(f"--context: {error.errors()[0]['msg']}") from None


def _ids(path: Path) -> pa.Array:
    try:
        column = parquet.read_table(path, columns=[USER_ID])[USER_ID]
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"--users {path}: not Parquet with a column {USER_ID}: {reason}") from None
    if column.null_count:
        raise InputError(f"--users {path}: {column.null_count} rows have no {USER_ID}")
    if not len(column):
        raise InputError(f"--users {path}: holds no users")
    return _plain(compute.unique(column))


def _as_typed(user_ids: pl.Series, wanted: pa.DataType) -> pa.Array:
    """Return canonical ids as strings or as 64-bit integers, in order, without what is neither."""
    if pa.types.is_string(wanted):
        return user_ids.sort().to_arrow().cast(wanted)
    numbers = user_ids.cast(pl.Int64, strict=False)
    is_same = (numbers.cast(pl.String) == user_ids).fill_null(value=False)
    return numbers.filter(is_same).sort().to_arrow()


def _plain(ids: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return ids as one array of strings or of 64-bit integers.

    Raises:
        InputError: they are neither.
    """
    whole = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    if pa.types.is_integer(whole.type):
        return whole.cast(pa.int64())
    is_text = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if any(is_one(whole.type) for is_one in is_text):
        return whole.cast(pa.string())
    raise InputError(f"{USER_ID}: must be integers or strings, is {whole.type}")
