"""The folder of one edition: users in chunks, a Parquet file of answers for each, and a manifest.

`_manifest.json` and `_users.parquet` come first; `part-<chunk>.parquet` appears when the chunk is
done. Readers of Parquet folders pass over names that begin with an underscore or a dot.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
from pyarrow import fs, parquet

from cluster.errors import InputError
from cluster.storage import open_folder

MANIFEST = "_manifest.json"
USERS = "_users.parquet"
PART_PREFIX = "part-"
OWN = (f".{MANIFEST}", f".{USERS}", USERS)
"""Names begin like this where a folder without a manifest was to become an edition's."""
TOKEN_BYTES = 4


@dataclass(frozen=True)
class Manifest:
    """What an edition is, written before its first answer."""

    id: str
    """Hash of what its answers depend on; empty while an earlier edition is being dropped."""
    bundle: str
    num_users: int
    num_chunks: int
    made_ms: int
    """The instant of its answers, by the service's clock."""
    is_complete: bool = False


class Edition:
    """Reads and writes the folder; every file appears whole or not at all.

    Args:
        output: a path, or a URI that pyarrow or fsspec opens.
    """

    def __init__(self, output: str) -> None:
        self.output = output
        self.filesystem, self.path = open_folder(output, "--output")

    def __reduce__(self) -> tuple[type["Edition"], tuple[str]]:
        return Edition, (self.output,)

    def manifest(self) -> Manifest | None:
        """Return what the folder holds, None where that is nothing.

        Raises:
            InputError: the folder holds something else.
        """
        names = self._names()
        if MANIFEST not in names:
            foreign = [name for name in names if not name.startswith(OWN)]
            if foreign:
                raise InputError(f"--output {self.output}: holds {foreign[0]}, but no answers")
            return None
        found = self._read_manifest()
        return found if found.id else None

    def begin(self, manifest: Manifest, user_ids: pa.Array, chunk_users: int) -> None:
        """Start anew: drop what the folder holds, and keep whose answers it will hold."""
        self.filesystem.create_dir(self.path, recursive=True)
        names = self._names()
        if MANIFEST in names:
            self._keep(replace(self._read_manifest(), id=""))
        for name in names:
            if name.startswith((".", PART_PREFIX)):
                self.filesystem.delete_file(f"{self.path}/{name}")
        users = pa.table({"user_id": user_ids})
        self._write(
            USERS, lambda file: parquet.write_table(users, file, row_group_size=chunk_users)
        )
        self._keep(manifest)

    def pending(self) -> dict[int, int]:
        """Return the chunks that are not done and how many users each has.

        What a killed run was writing is forgotten.
        """
        names = set(self._names())
        for name in names:
            if name.startswith("."):
                self.filesystem.delete_file(f"{self.path}/{name}")
        with self._users() as users:
            sizes = [users.metadata.row_group(c).num_rows for c in range(users.num_row_groups)]
        return {c: size for c, size in enumerate(sizes) if _part(c) not in names}

    def user_ids(self, chunk: int) -> pa.Array:
        """Return the users of a chunk, in the data's own type."""
        with self._users() as users:
            return users.read_row_group(chunk)["user_id"].combine_chunks()

    def keep(self, chunk: int, answers: pa.Table) -> None:
        """Write the answers of a chunk, which is done with that."""
        self._write(_part(chunk), lambda file: parquet.write_table(answers, file))

    def finish(self) -> None:
        """Note that every chunk is done."""
        self._keep(replace(self._read_manifest(), is_complete=True))

    def _keep(self, manifest: Manifest) -> None:
        text = json.dumps(asdict(manifest), indent=1)
        self._write(MANIFEST, lambda file: file.write(text.encode()))

    def _users(self) -> parquet.ParquetFile:
        return parquet.ParquetFile(f"{self.path}/{USERS}", filesystem=self.filesystem)

    def _names(self) -> list[str]:
        if self.filesystem.get_file_info(self.path).type == fs.FileType.File:
            raise InputError(f"--output {self.output}: is a file, not a folder")
        selector = fs.FileSelector(self.path, allow_not_found=True)
        return [info.base_name for info in self.filesystem.get_file_info(selector)]

    def _read_manifest(self) -> Manifest:
        with self.filesystem.open_input_file(f"{self.path}/{MANIFEST}") as file:
            content: bytes = file.read()
        try:
            return Manifest(**json.loads(content))
        except (TypeError, ValueError):
            raise InputError(f"{self.output}/{MANIFEST}: not a manifest of answers") from None

    def _write(self, name: str, write: Callable[[Any], object]) -> None:
        """Write beside the name, then move there."""
        draft = f"{self.path}/.{name}-{secrets.token_hex(TOKEN_BYTES)}"
        with self.filesystem.open_output_stream(draft) as file:
            write(file)
        self.filesystem.move(draft, f"{self.path}/{name}")


def _part(chunk: int) -> str:
    return f"{PART_PREFIX}{chunk:05d}.parquet"
