"""The host's compiled programs: built once, kept, mended when damaged."""

import os
import threading
from pathlib import Path

import pytest

from models.runtime.package import MANIFEST, DamagedPackageError
from models.runtime.packages import KEPT, CompilationError, Packages
from models.runtime.programs import Program

SOURCE = Path("program.pt2")
DIGEST = "a" * 64


class Compiler:
    """Writes what `opened` can tell from a damaged package."""

    def __init__(self) -> None:
        self.urgencies: list[bool] = []

    def __call__(self, source: Path, folder: Path, in_background: bool) -> None:
        """Note how urgent it was."""
        self.urgencies.append(in_background)
        (folder / MANIFEST).write_text("sound")


def opened(folder: Path, _num_runners: int) -> Program:
    text = (folder / MANIFEST).read_text()
    if text != "sound":
        raise DamagedPackageError(f"{folder}: {text}")
    return lambda: folder


@pytest.fixture
def compiler() -> Compiler:
    return Compiler()


@pytest.fixture
def packages(tmp_path: Path, compiler: Compiler) -> Packages:
    return Packages(tmp_path, compile_program=compiler, open_package=opened)


def test_a_program_is_compiled_once_for_all_that_ask_at_a_time(
    packages: Packages, compiler: Compiler
) -> None:
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(packages.build(SOURCE, DIGEST)()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [packages.path(DIGEST)] * 4
    assert compiler.urgencies == [False]


def test_another_process_finds_what_one_built(tmp_path: Path, packages: Packages) -> None:
    packages.build(SOURCE, DIGEST)
    other = Packages(tmp_path, open_package=opened)
    assert other.find(DIGEST) is not None
    assert other.find("b" * 64) is None


def test_a_damaged_package_is_built_again(
    packages: Packages, compiler: Compiler, caplog: pytest.LogCaptureFixture
) -> None:
    packages.build(SOURCE, DIGEST)
    (packages.path(DIGEST) / MANIFEST).write_text("cut")
    assert packages.find(DIGEST) is None
    assert "compiling it again" in caplog.text
    assert packages.build(SOURCE, DIGEST, in_background=True) is not None
    assert compiler.urgencies == [False, True]


def test_a_failed_compilation_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(_source: Path, folder: Path, _in_background: bool) -> None:
        (folder / "half").touch()
        raise CompilationError("no space")

    packages = Packages(tmp_path, compile_program=fail, open_package=opened)
    with pytest.raises(CompilationError, match="no space"):
        packages.build(SOURCE, DIGEST)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_what_a_killed_compilation_left_is_swept(tmp_path: Path, packages: Packages) -> None:
    leftover = tmp_path / f".{packages.path(DIGEST).name}-killed"
    leftover.mkdir()
    packages.build(SOURCE, DIGEST)
    assert not leftover.exists()


def test_the_packages_that_were_used_last_stay(packages: Packages) -> None:
    digests = [f"{number:016d}" for number in range(KEPT + 1)]
    for age, digest in enumerate(reversed(digests[:-1])):
        packages.build(SOURCE, digest)
        os.utime(packages.path(digest) / MANIFEST, (0, 1_000_000 - age))
    assert packages.find(digests[0]) is not None  # the oldest, used again
    packages.build(SOURCE, digests[-1])
    kept = {digest for digest in digests if packages.path(digest).exists()}
    assert kept == set(digests) - {digests[1]}


def test_a_package_that_is_not_sound_after_all_is_an_error(tmp_path: Path) -> None:
    def write(_source: Path, folder: Path, _in_background: bool) -> None:
        (folder / MANIFEST).write_text("crooked")

    packages = Packages(tmp_path, compile_program=write, open_package=opened)
    with pytest.raises(CompilationError, match="not sound"):
        packages.build(SOURCE, DIGEST)
