"""The architecture: serving is slim, layers import downward only, folders hold what they say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDERS = ("cluster", "features", "models", "retrieval", "train", "tune", "serve")
TRAINING_ONLY = ("ray.train", "ray.tune", "ray.data", "mlflow", "train", "tune")
LISTING = "import {module}, sys; sys.stdout.write('\\n'.join(sys.modules))"


def modules_after_import(module: str) -> set[str]:
    """Return what a fresh process has loaded after importing modules."""
    done = subprocess.run(
        [sys.executable, "-c", LISTING.format(module=module)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split("\n"))


def test_serving_loads_no_training_code() -> None:
    loaded = modules_after_import("serve.app")
    assert "ray.serve" in loaded
    assert not loaded.intersection(TRAINING_ONLY)


def test_models_load_no_ray() -> None:
    loaded = modules_after_import("models.bundle")
    assert "torch" in loaded
    assert "ray" not in loaded


def test_stages_know_neither_ray_nor_http() -> None:
    stages = ("hydration", "sources", "filters", "ranking", "reranking", "pipeline", "chunks")
    loaded = modules_after_import(", ".join(f"serve.{stage}" for stage in stages))
    assert not loaded.intersection({"ray", "fastapi", "starlette", "uvicorn"})


def test_import_contracts_hold() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("folder", FOLDERS)
def test_packages_hold_a_docstring_and_nothing_else(folder: str) -> None:
    for path in (ROOT / folder).rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, path
        assert ast.get_docstring(ast.parse(path.read_text())), path


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_opens_with_a_sentence(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
