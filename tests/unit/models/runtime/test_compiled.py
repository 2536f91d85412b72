"""Which program runs: the compiled one where there is one, the exported one until then."""

import threading
from pathlib import Path

import pytest

from cluster.errors import InputError
from models.runtime.compiled import CompiledPrograms, UpgradedProgram
from models.runtime.package import MANIFEST
from models.runtime.packages import CompilationError, Packages
from models.runtime.programs import Program

SOURCE = Path("ranker_items.pt2")
DIGEST = "a" * 64


class Exported:
    """Counts what it is asked to open."""

    def __init__(self) -> None:
        self.num_opened = 0

    def open(self, source: Path, digest: str) -> Program:
        """Return a program that says that it was exported."""
        self.num_opened += 1
        return lambda: "exported"


def packages_of(folder: Path, error: str | None = None) -> Packages:
    def compile_program(_source: Path, draft: Path, _in_background: bool) -> None:
        if error is not None:
            raise CompilationError(error)
        (draft / MANIFEST).touch()

    return Packages(
        folder, compile_program=compile_program, open_package=lambda *_: lambda: "compiled"
    )


def test_the_exported_program_answers_until_the_package_is_built() -> None:
    may_build = threading.Event()

    def build() -> Program:
        may_build.wait()
        return lambda: "compiled"

    program = UpgradedProgram(lambda: "exported", "items", build)
    assert program() == "exported"
    may_build.set()
    program.upgrade.join()
    assert program() == "compiled"


def test_who_has_patience_is_given_the_compiled_program(tmp_path: Path) -> None:
    programs = CompiledPrograms(
        packages_of(tmp_path), is_patient=True, exported=Exported(), has_compiler=True
    )
    assert programs.open(SOURCE, DIGEST)() == "compiled"
    failing = CompiledPrograms(
        packages_of(tmp_path / "none", "broken"),
        is_patient=True,
        exported=Exported(),
        has_compiler=True,
    )
    assert failing.open(SOURCE, DIGEST)() == "exported"


def test_a_program_is_compiled_in_the_background(tmp_path: Path) -> None:
    programs = CompiledPrograms(packages_of(tmp_path), exported=Exported(), has_compiler=True)
    program = programs.open(SOURCE, DIGEST)
    assert isinstance(program, UpgradedProgram)
    program.upgrade.join()
    assert program() == "compiled"


def test_what_is_compiled_already_opens_without_the_exported_program(tmp_path: Path) -> None:
    packages, exported = packages_of(tmp_path), Exported()
    packages.build(SOURCE, DIGEST)
    program = CompiledPrograms(packages, exported=exported).open(SOURCE, DIGEST)
    assert program() == "compiled"
    assert exported.num_opened == 0


def test_a_program_that_does_not_compile_stays_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packages = packages_of(tmp_path, error="out of memory")
    programs = CompiledPrograms(packages, exported=Exported(), has_compiler=True)
    program = programs.open(SOURCE, DIGEST)
    assert isinstance(program, UpgradedProgram)
    program.upgrade.join()
    assert program() == "exported"
    assert "ranker_items stays as it was exported: out of memory" in caplog.text


def test_without_a_compiler_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    programs = CompiledPrograms(packages_of(tmp_path), exported=Exported(), has_compiler=False)
    assert programs.open(SOURCE, DIGEST)() == "exported"
    assert programs.open(SOURCE, "b" * 64)() == "exported"
    assert caplog.text.count("no g++ on this host") == 1


def test_what_must_be_compiled_is_waited_for(tmp_path: Path) -> None:
    programs = CompiledPrograms(packages_of(tmp_path), must_compile=True, exported=Exported())
    assert programs.open(SOURCE, DIGEST)() == "compiled"


def test_what_must_be_compiled_and_cannot_be_is_refused(tmp_path: Path) -> None:
    programs = CompiledPrograms(packages_of(tmp_path, error="no g++"), must_compile=True)
    with pytest.raises(InputError, match=r"serve.runtime.compile = 'always': no g\+\+"):
        programs.open(SOURCE, DIGEST)
