"""An edition's folder: what is done, what is left, and what it refuses to mix."""

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from cluster.errors import InputError
from serve.edition import MANIFEST, USERS, Edition, Manifest

FIRST = Manifest("first", "bundle", num_users=5, num_chunks=3, made_ms=7)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "answers"


@pytest.fixture
def edition(folder: Path) -> Edition:
    made = Edition(str(folder))
    made.begin(FIRST, pa.array([1, 2, 3, 4, 5]), chunk_users=2)
    return made


def test_a_folder_that_is_not_there_holds_nothing(folder: Path) -> None:
    assert Edition(str(folder)).manifest() is None


def test_users_lie_in_chunks_and_every_chunk_is_left(edition: Edition) -> None:
    assert edition.manifest() == FIRST
    assert edition.pending() == {0: 2, 1: 2, 2: 1}
    assert [edition.user_ids(c).to_pylist() for c in range(3)] == [[1, 2], [3, 4], [5]]


def test_a_written_chunk_is_done_and_readers_see_answers_only(
    edition: Edition, folder: Path
) -> None:
    edition.keep(1, pa.table({"user_id": [3, 4]}))
    assert edition.pending() == {0: 2, 2: 1}
    assert parquet.read_table(folder)["user_id"].to_pylist() == [3, 4]


def test_what_a_killed_run_was_writing_counts_for_nothing(edition: Edition, folder: Path) -> None:
    (folder / ".part-00000.parquet-ab12").write_bytes(b"PAR1 half")
    assert edition.pending() == {0: 2, 1: 2, 2: 1}
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, USERS]


def test_a_chunk_whose_writing_fails_is_not_done(edition: Edition, folder: Path) -> None:
    class NoTable:
        """Nothing that Parquet can hold."""

    with pytest.raises(Exception, match="NoTable"):
        edition.keep(0, NoTable())
    assert not list(folder.glob("part-*"))
    assert edition.pending() == {0: 2, 1: 2, 2: 1}


def test_another_edition_begins_with_nothing_of_the_first(edition: Edition, folder: Path) -> None:
    edition.keep(0, pa.table({"user_id": [1, 2]}))
    edition.finish()
    second = Manifest("second", "bundle", num_users=1, num_chunks=1, made_ms=8)
    edition.begin(second, pa.array(["ann"]), chunk_users=2)
    assert (edition.manifest(), edition.pending()) == (second, {0: 1})
    assert edition.user_ids(0).to_pylist() == ["ann"]
    assert not list(folder.glob("part-*"))


def test_the_end_is_noted(edition: Edition) -> None:
    edition.finish()
    found = edition.manifest()
    assert found is not None
    assert found.is_complete


def test_a_kill_while_an_edition_is_dropped_leaves_none(edition: Edition, folder: Path) -> None:
    edition.keep(0, pa.table({"user_id": [1, 2]}))
    edition.finish()
    with pytest.raises(pa.ArrowNotImplementedError):  # stands for a kill
        edition.begin(FIRST, pa.array([{}]), chunk_users=2)
    assert edition.manifest() is None
    edition.begin(FIRST, pa.array([1, 2, 3, 4, 5]), chunk_users=2)
    assert edition.pending() == {0: 2, 1: 2, 2: 1}


def test_it_lies_wherever_a_uri_points(tmp_path: Path) -> None:
    edition = Edition(f"memory://{tmp_path.name}/answers")
    assert edition.manifest() is None
    edition.begin(FIRST, pa.array([1, 2, 3, 4, 5]), chunk_users=2)
    edition.keep(2, pa.table({"user_id": [5]}))
    found = pickle.loads(pickle.dumps(edition))
    assert (found.manifest(), found.pending()) == (FIRST, {0: 2, 1: 2})


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answers").touch()
    with pytest.raises(InputError, match="answers: is a file, not a folder"):
        Edition(str(tmp_path / "answers")).manifest()


def test_a_folder_of_something_else_is_refused(folder: Path) -> None:
    folder.mkdir()
    (folder / "part-00000.parquet").touch()
    with pytest.raises(InputError, match=r"holds part-00000\.parquet, but no answers"):
        Edition(str(folder)).manifest()


@pytest.mark.parametrize("text", ["{", "[]", '{"id": "x"}'])
def test_a_manifest_that_is_none_is_refused(edition: Edition, folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(InputError, match="not a manifest of answers"):
        edition.manifest()


def test_a_uri_that_nothing_opens_is_refused() -> None:
    with pytest.raises(InputError, match="--output: cannot open 'nowhere://answers'"):
        Edition("nowhere://answers")
