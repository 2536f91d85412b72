"""A result names the command and the machine that made it, and nothing of somebody's disk."""

import sys

import pytest

from benchmarks.machine import command_of, cpu_model, facts, portable


def test_a_command_is_given_as_anybody_may_type_it() -> None:
    typed = ["/home/ann/main/benchmarks/prepare.py", "20000", "--keep", "/scratch/kept"]
    assert command_of(typed) == "python -m benchmarks.prepare 20000 --keep .../kept"
    nested = ["benchmarks/throughput/profile.py", "--only", "encoder: mean"]
    assert command_of(nested) == "python -m benchmarks.throughput.profile --only 'encoder: mean'"
    assert command_of(["/usr/bin/pytest", "-q"]) == "python -m pytest -q"


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("storage.root=/home/ann/artifacts", "storage.root=.../artifacts"),
        ("storage.root=artifacts/here", "storage.root=artifacts/here"),
        ("storage.root=file:///home/ann/artifacts", "storage.root=.../artifacts"),
        ("../data/kuairand", "../data/kuairand"),
        ("train.retrieval.learning_rate=0.5", "train.retrieval.learning_rate=0.5"),
        ("storage.root=s3://bucket/folder", "storage.root=s3://bucket/folder"),
    ],
)
def test_only_absolute_paths_are_shortened(argument: str, expected: str) -> None:
    assert portable(argument) == expected


def test_facts_name_processor_and_versions() -> None:
    found = facts("numpy")
    assert list(found) == ["command", "hardware", "versions"]
    assert found["hardware"]["cpu"] == cpu_model() != ""
    assert found["hardware"]["cores"] >= 1
    assert list(found["versions"]) == ["python", "numpy"]
    assert found["versions"]["python"] == sys.version.split()[0]
