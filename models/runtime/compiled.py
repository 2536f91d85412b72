"""Programs compiled for this host where they can be, as they were exported where not."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from cluster.errors import InputError
from models.runtime.packages import COMPILER, CompilationError, Packages
from models.runtime.programs import ExportedPrograms, Program, Programs

logger = logging.getLogger(__name__)


class CompiledPrograms:
    """Opens a program's package at once where the host has it.

    Where it has not, the exported program answers until the package is built in the background,
    or, with `must_compile` or `is_patient`, the caller waits.

    Args:
        packages: the host's.
        must_compile: refuse to run what is not compiled.
        is_patient: run as exported only what cannot be compiled.
        exported: opens what is not compiled.
        has_compiler: whether this host can compile at all.
    """

    def __init__(
        self,
        packages: Packages,
        *,
        must_compile: bool = False,
        is_patient: bool = False,
        exported: Programs | None = None,
        has_compiler: bool | None = None,
    ) -> None:
        self.packages = packages
        self.must_compile = must_compile
        self.is_patient = is_patient
        self._exported = exported or ExportedPrograms()
        found = shutil.which(COMPILER) is not None
        self._has_compiler = found if has_compiler is None else has_compiler
        if not self._has_compiler:
            logger.warning("no %s on this host: programs run as they were exported", COMPILER)

    def open(self, source: Path, digest: str) -> Program:
        """Return the program.

        Raises:
            InputError: it has to be compiled and cannot be.
        """
        found = self.packages.find(digest)
        if found is not None:
            return found
        if self.must_compile:
            return self._built(source, digest)
        if self.is_patient and self._has_compiler:
            return self._built_or_exported(source, digest)
        program = self._exported.open(source, digest)
        if not self._has_compiler:
            return program
        build = partial(self.packages.build, source, digest, in_background=True)
        return UpgradedProgram(program, source.stem, build)

    def _built(self, source: Path, digest: str) -> Program:
        try:
            return self.packages.build(source, digest)
        except CompilationError as error:
            raise InputError(f"serve.runtime.compile = 'always': {error}") from None

    def _built_or_exported(self, source: Path, digest: str) -> Program:
        try:
            return self.packages.build(source, digest, in_background=True)
        except CompilationError as error:
            logger.warning("%s runs as it was exported: %s", source.stem, error)
            return self._exported.open(source, digest)


class UpgradedProgram:
    """Runs one program until another one, which computes the same, is ready.

    Args:
        program: runs meanwhile.
        name: for the log.
        build: gives the other; it is called in a thread, and may fail.
    """

    def __init__(self, program: Program, name: str, build: Callable[[], Program]) -> None:
        self._program = program
        self.name = name
        self.upgrade = threading.Thread(target=self._upgrade, args=(build,), daemon=True)
        self.upgrade.start()

    def __call__(self, *arguments: Any) -> Any:
        """Run whichever there is."""
        return self._program(*arguments)

    def _upgrade(self, build: Callable[[], Program]) -> None:
        started = time.monotonic()
        try:
            self._program = build()
        except CompilationError as error:
            logger.warning("%s stays as it was exported: %s", self.name, error)
        else:
            logger.info("%s compiled in %.0f s", self.name, time.monotonic() - started)
