"""Artifacts appear whole or not at all."""

import json
import pickle
import shutil
from pathlib import Path

import pytest

from cluster.errors import ConfigError
from cluster.storage import MANIFEST, Storage, content_hash


def publish(storage: Storage, name: str, value: int) -> None:
    with storage.publishing(name) as folder:
        (folder / "value.txt").write_text(str(value))
        (folder / MANIFEST).write_text(json.dumps({"id": value}))


def publish_unserialisable(storage: Storage) -> None:
    with storage.publishing("examples") as folder:
        (folder / "value.txt").write_text("half")
        (folder / MANIFEST).write_text(json.dumps(object()))


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path), "shop")


def test_an_artifact_is_replaced_in_one_step(storage: Storage, tmp_path: Path) -> None:
    publish(storage, "examples", 1)
    publish(storage, "examples", 2)
    assert (storage.fetch("examples") / "value.txt").read_text() == "2"
    assert storage.manifest("examples") == {"id": 2}
    assert len(list((tmp_path / "shop").iterdir())) == 2  # the link and what it points at


def test_a_failure_leaves_the_previous_artifact_and_no_litter(
    storage: Storage, tmp_path: Path
) -> None:
    publish(storage, "examples", 1)
    with pytest.raises(TypeError, match="not JSON serializable"):
        publish_unserialisable(storage)
    assert storage.manifest("examples") == {"id": 1}
    assert len(list((tmp_path / "shop").iterdir())) == 2


def test_an_artifact_without_a_manifest_does_not_exist(storage: Storage) -> None:
    assert not storage.exists("examples")
    assert storage.manifest("examples") is None


def test_nested_names_are_folders(storage: Storage) -> None:
    publish(storage, "trained/retrieval", 3)
    assert storage.manifest("trained/retrieval") == {"id": 3}


def test_a_storage_travels_to_other_processes(storage: Storage) -> None:
    publish(storage, "examples", 1)
    assert pickle.loads(pickle.dumps(storage)).manifest("examples") == {"id": 1}


def test_an_unknown_scheme_is_a_wrong_use() -> None:
    with pytest.raises(ConfigError, match="storage.root"):
        Storage("nowhere://bucket", "shop")


def test_content_hashes_ignore_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})


def test_a_remote_root_keeps_artifacts_and_refreshes_local_copies(tmp_path: Path) -> None:
    root = f"memory://{tmp_path.name}"
    writer = Storage(root, "shop")
    publish(writer, "bundles/a", 1)
    shutil.rmtree(writer.local)
    assert Storage(root, "shop").manifest("bundles/a") == {"id": 1}
    publish(writer, "bundles/a", 2)
    assert (Storage(root, "shop").fetch("bundles/a") / "value.txt").read_text() == "2"
    assert not writer.exists("bundles/b")
    shutil.rmtree(writer.local.parent)


@pytest.mark.parametrize("is_remote", [False, True])
def test_a_removed_artifact_is_gone_and_its_neighbours_stay(
    tmp_path: Path, is_remote: bool
) -> None:
    root = f"memory://{tmp_path.name}" if is_remote else str(tmp_path)
    storage = Storage(root, "shop")
    publish(storage, "bundles/a", 1)
    publish(storage, "bundles/b", 2)
    assert storage.names("bundles") == ["a", "b"]
    storage.remove("bundles/a")
    storage.remove("bundles/nothing")
    assert storage.names("bundles") == ["b"]
    assert not storage.exists("bundles/a")
    assert storage.manifest("bundles/b") == {"id": 2}
    assert storage.names("trained") == []
    assert len(list((storage.local / "bundles").iterdir())) == 2  # the link and its target
    shutil.rmtree(storage.local.parent)
