"""Scratch folders are whole, shared through remote storage, and gone in the end."""

import os
import shutil
import uuid
from pathlib import Path

import pytest

from cluster.storage import Storage
from features.workspace import PREFIX, Workspace
from tests.in_process import prepare_here
from tests.unit.features.test_preparation import COLUMNS, EVENTS, TableAdapter


def fail_half_way(workspace: Workspace) -> None:
    with workspace.writing("part/1") as folder:
        (folder / "half").touch()
        raise ValueError("broken")


def test_a_failed_task_leaves_nothing(tmp_path: Path) -> None:
    with Workspace.open(Storage(str(tmp_path), "toy")) as workspace:
        with pytest.raises(ValueError, match="broken"):
            fail_half_way(workspace)
        assert list((workspace.local / "part").iterdir()) == []


def test_a_task_that_runs_again_replaces_its_output(tmp_path: Path) -> None:
    with Workspace.open(Storage(str(tmp_path), "toy")) as workspace:
        for name in ("old", "new"):
            with workspace.writing("part") as folder:
                (folder / name).touch()
        assert [path.name for path in workspace.reading("part").iterdir()] == ["new"]


def test_what_a_killed_preparation_left_is_removed(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path), "toy")
    with Workspace.open(storage) as workspace:
        abandoned = workspace.local.with_name(workspace.name.replace(str(os.getpid()), "999999999"))
        elsewhere = workspace.local.with_name(f"{PREFIX}-another.host-1")
        abandoned.mkdir()
        elsewhere.mkdir()
    with Workspace.open(storage):
        assert not abandoned.exists()
        assert elsewhere.exists()


@pytest.fixture
def remote_root() -> str:
    """A root that every storage of this process sees, but no file system."""
    return f"memory://{uuid.uuid4().hex}/root"


def test_other_hosts_read_through_the_remote_storage(remote_root: str) -> None:
    storage = Storage(remote_root, "toy")
    with Workspace.open(storage) as workspace:
        with workspace.writing("part") as folder:
            (folder / "file").write_text("content")
        shutil.rmtree(workspace.local)  # a host that did not run the task
        assert (workspace.reading("part") / "file").read_text() == "content"


def test_a_preparation_into_remote_storage_reads_the_same(remote_root: str, tmp_path: Path) -> None:
    remote = prepare_here(remote_root, TableAdapter([EVENTS]), COLUMNS)
    local = prepare_here(str(tmp_path), TableAdapter([EVENTS]), COLUMNS)
    assert remote.schema == local.schema
    assert (
        remote.shard("test", 0).item_counts.tolist() == local.shard("test", 0).item_counts.tolist()
    )
