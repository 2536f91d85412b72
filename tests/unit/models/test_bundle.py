"""The bundle: sealed whole, and refused in one line when it is not."""

import json
from pathlib import Path

import pytest

from cluster.errors import InputError
from cluster.storage import MANIFEST
from features.config import TaskConfig
from features.schema import Schema
from models.bundle import Bundle, draft_id, is_undamaged, seal, verify_content

SCHEMA = Schema(
    recommender="toy",
    features=(),
    entities=(),
    tasks=(TaskConfig(name="click", column="click"),),
    base_rates=(0.5,),
    positive="click",
    history_length=5,
    max_values=1,
    interval_ms=1000,
    utc_offset_ms=0,
    smoothing=1.0,
    has_time=True,
    vocabularies="toy",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed bundle with a file at the top and one below."""
    write(tmp_path)
    seal(tmp_path, {"fingerprint": SCHEMA.fingerprint, "recall": 1.0})
    return tmp_path


def write(folder: Path) -> None:
    SCHEMA.save(folder)
    (folder / "item_vectors.npy").write_bytes(bytes(range(256)))
    (folder / "index").mkdir()
    (folder / "index" / "kind.json").write_text("{}")


def test_sealed_bundle_opens_with_its_facts(folder: Path) -> None:
    bundle = Bundle(folder)
    assert bundle.manifest["recall"] == 1.0
    assert bundle.schema == SCHEMA
    assert not bundle.has_ranker
    assert is_undamaged(folder)


def test_id_is_that_of_the_content(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    same, other = tmp_path_factory.mktemp("same"), tmp_path_factory.mktemp("other")
    for copy in (same, other):
        write(copy)
    (other / "index" / "kind.json").write_text("{ }")
    facts = {"fingerprint": SCHEMA.fingerprint, "created_at": "later"}
    assert seal(same, facts) == Bundle(folder).id
    assert seal(other, facts) != Bundle(folder).id


def test_truncated_file_is_named_with_its_sizes(folder: Path) -> None:
    (folder / "item_vectors.npy").write_bytes(bytes(100))
    with pytest.raises(InputError, match=r"item_vectors\.npy: truncated .* 100 bytes .* of 256"):
        Bundle(folder)


def test_missing_file_is_named(folder: Path) -> None:
    (folder / "index" / "kind.json").unlink()
    with pytest.raises(InputError, match=r"index/kind\.json: missing from the bundle"):
        Bundle(folder)


def test_edited_file_is_found_by_its_content(folder: Path) -> None:
    (folder / "item_vectors.npy").write_bytes(bytes(256))
    Bundle(folder)
    with pytest.raises(InputError, match=r"item_vectors\.npy: content differs"):
        verify_content(folder)
    assert not is_undamaged(folder)


def test_another_fingerprint_is_refused_by_both_names(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["fingerprint"] = "0123456789abcdef"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=f"0123456789abcdef.*{SCHEMA.fingerprint}"):
        Bundle(folder)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"not json",
        b"\xff\xfe\x00",
        b"[]",
        b"3",
        b"null",
        b"{}",
        b'{"files": {}}',
        b'{"files": 3, "id": "a", "fingerprint": "b"}',
        b'{"files": {"schema.json": 3}, "id": "a", "fingerprint": "b"}',
        b'{"files": {"schema.json": {}}, "id": "a", "fingerprint": "b"}',
        b'{"files": {"../secret": {"bytes": 1}}, "id": "a", "fingerprint": "b"}',
    ],
)
def test_garbage_manifest_is_refused_in_one_line(folder: Path, garbage: bytes) -> None:
    (folder / MANIFEST).write_bytes(garbage)
    with pytest.raises(InputError) as refused:
        Bundle(folder)
    assert str(folder) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_cut_manifest_is_refused_wherever_it_is_cut(folder: Path) -> None:
    whole = (folder / MANIFEST).read_bytes()
    for size in range(0, len(whole), 37):
        (folder / MANIFEST).write_bytes(whole[:size])
        with pytest.raises(InputError, match="not a bundle manifest"):
            Bundle(folder)


def test_folder_without_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"not a bundle: no {MANIFEST}"):
        Bundle(tmp_path)
    with pytest.raises(InputError, match=f"not a bundle: no {MANIFEST}"):
        Bundle(tmp_path / "nowhere")


def test_unreadable_schema_is_named(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    (folder / "schema.json").write_text('{"recommender": 3}')
    seal(folder, {"fingerprint": SCHEMA.fingerprint})
    with pytest.raises(InputError, match=r"schema\.json: not a schema"):
        Bundle(folder)


def test_draft_is_named_by_data_and_models() -> None:
    one = draft_id("a", {"retrieval": "b", "ranking": "c"})
    assert one == draft_id("a", {"ranking": "c", "retrieval": "b"})
    assert one != draft_id("a", {"retrieval": "b"})
