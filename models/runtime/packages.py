"""A host's compiled programs: each is built once, whoever asks first, and kept for the others."""

import fcntl
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from cluster.storage import content_hash
from models.runtime.package import MANIFEST, DamagedPackageError, Package
from models.runtime.programs import Program

LAYOUT = 1
"""Counts changes of what a package holds or how it is compiled, after which it is built anew."""
KEPT = 21
"""Packages that stay, the last used ones: five bundles of four programs, and one."""
COMPILER = "g++"
ROOT = Path(__file__).resolve().parent.parent.parent
CPUINFO = Path("/proc/cpuinfo")
CPU_FIELDS = ("model name", "flags", "Features", "CPU part")

Compile = Callable[[Path, Path, bool], None]
"""Compiles a source into an empty folder, in the background or at once."""
Open = Callable[[Path, int], Program]
"""Loads a package for so many calls at a time."""

logger = logging.getLogger(__name__)


class CompilationError(Exception):
    """A program was not compiled; says why in a line."""


class Packages:
    """Packages in a folder of this host, by the hash of the program, the CPU and torch's version.

    Args:
        folder: where they are; several processes may share it.
        num_runners: calls of one package that run at a time.
        compile_program: how a package is made.
        open_package: how it is loaded.
    """

    def __init__(
        self,
        folder: Path,
        *,
        num_runners: int = 1,
        compile_program: Compile | None = None,
        open_package: Open = Package,
    ) -> None:
        self.folder = folder
        self.num_runners = num_runners
        self._compile = compile_program or run_compiler
        self._open = open_package

    def find(self, digest: str) -> Program | None:
        """Open a program's package; None where there is no sound one."""
        path = self.path(digest)
        if not path.exists():
            return None
        try:
            package = self._open(path, self.num_runners)
        except DamagedPackageError as error:
            logger.warning("%s: compiling it again", error)
            return None
        with suppress(OSError):
            os.utime(path / MANIFEST)
        return package

    def build(self, source: Path, digest: str, *, in_background: bool = False) -> Program:
        """Compile a program unless somebody did meanwhile; waits for whoever is compiling.

        Raises:
            CompilationError: it cannot be compiled here.
        """
        with self._locked():
            found = self.find(digest)
            if found is None:
                self._build(source, self.path(digest), in_background)
                self._prune()
                found = self.find(digest)
        if found is None:
            raise CompilationError(f"{source}: compiled, but the package is not sound")
        return found

    def path(self, digest: str) -> Path:
        """Return where a program's package is, or would be."""
        return self.folder / f"{digest[:16]}-{_host()}"

    def _build(self, source: Path, path: Path, in_background: bool) -> None:
        for leftover in self.folder.glob(f".{path.name}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(
            prefix=f".{path.name}-", dir=self.folder, ignore_cleanup_errors=True
        ) as draft:
            self._compile(source, Path(draft), in_background)
            shutil.rmtree(path, ignore_errors=True)
            Path(draft).rename(path)
            path.chmod(0o755)

    def _prune(self) -> None:
        """Drop the packages that were not used for longest."""
        times = {}
        for path in self.folder.glob(f"[!.]*/{MANIFEST}"):
            with suppress(OSError):
                times[path.parent] = path.stat().st_mtime
        for path in sorted(times, key=lambda path: -times[path])[KEPT:]:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Wait for the other processes; the operating system frees a dead one's lock."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def run_compiler(source: Path, folder: Path, in_background: bool) -> None:
    """Compile in a process of its own.

    Raises:
        CompilationError: there is no compiler, or it failed.
    """
    if shutil.which(COMPILER) is None:  # torch says it in a page
        raise CompilationError(f"no {COMPILER} on this host")
    command = [sys.executable, "-m", "models.runtime.compilation", str(source), str(folder)]
    command += ["--in-background"] if in_background else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise CompilationError(f"{source}: exit status {done.returncode}: {lines[-1]}")


def _host() -> str:
    """Hash what compiled code depends on."""
    return content_hash([LAYOUT, torch.__version__, platform.machine(), _cpu()])


def _cpu() -> list[str]:
    """Return the CPU's name and what it can do."""
    if not CPUINFO.exists():
        return [platform.processor()]
    first = CPUINFO.read_text().partition("\n\n")[0]
    return [line for line in first.splitlines() if line.startswith(CPU_FIELDS)]
