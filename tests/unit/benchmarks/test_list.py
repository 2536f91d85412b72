"""The list of benchmarks names what exists, with what each of them takes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "benchmarks"


def benchmarks(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def measuring() -> list[str]:
    """Return the modules whose command prints a result."""
    files: list[Path] = sorted(FOLDER.glob("[a-z]*.py"))
    return [file.stem for file in files if f'"benchmark": "{file.stem}"' in file.read_text()]


def test_every_benchmark_is_listed_with_what_it_needs() -> None:
    done = benchmarks("--list")
    assert done.returncode == 0, done.stderr
    rows = [line.split()[0] for line in done.stdout.splitlines() if line.split()]
    missing = set(measuring()) - set(rows)
    assert not missing, f"list them in benchmarks/__main__.py: {missing}"


@pytest.mark.parametrize("name", ["serve_htp", "load"])
def test_an_unknown_benchmark_is_one_line(name: str) -> None:
    done = benchmarks(name)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: no benchmark '{name}'; known: ")
    assert done.stderr.count("\n") == 1
