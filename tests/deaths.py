"""Real deaths at chosen moments: a process that kills itself with SIGKILL."""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem


@dataclass(frozen=True)
class Death:
    """Where a worker dies: before a step of an epoch, both counted from 0."""

    rank: int
    epoch: int
    step: int


def die_once(scar: Path) -> None:
    """Kill this process, unless the scar says that one was killed before."""
    if not scar.exists():
        scar.touch()
        os.kill(os.getpid(), signal.SIGKILL)


class DeadlyFileSystem(LocalFileSystem):
    """Whoever writes a file that matches dies of it once, when half of its first part is written.

    Args:
        pattern: regular expression over paths.
        scar: a file that remembers the death.
    """

    def __init__(self, pattern: str, scar: str) -> None:
        super().__init__(auto_mkdir=True, skip_instance_cache=True)
        self.storage_options = {"pattern": pattern, "scar": scar}
        self.pattern = pattern
        self.scar = Path(scar)

    def _open(self, path: str, mode: str = "rb", *args: Any, **options: Any) -> Any:
        file = super()._open(path, mode, *args, **options)
        if mode == "wb" and re.search(self.pattern, path) and not self.scar.exists():
            file.write = DeadlyWrite(file, self.scar)
        return file


class DeadlyWrite:
    """Writes a half, then dies."""

    def __init__(self, file: Any, scar: Path) -> None:
        self.file = file
        self.scar = scar

    def __call__(self, data: Any) -> None:
        """Write a half, then die."""
        view = memoryview(data)
        os.write(self.file.fileno(), view[: len(view) // 2])
        die_once(self.scar)
