"""What a batch is asked to make: its users, its terms, and where it goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from cluster.errors import ConfigError, InputError
from serve.commission import Commission, Users
from serve.config import ServeSettings
from tests.toy_bundle import TASKS, ToyBundle

USERS = Users(pa.array(["ann", "bo", "cy"]), "people")


@pytest.fixture
def commission(tmp_path: Path, bundle: ToyBundle) -> Commission:
    settings = ServeSettings.model_validate(
        {
            "recommender": "toy",
            "storage": {"root": str(tmp_path / "root")},
            "dataset": {"format": "synthetic"},
            "tasks": [task.model_dump() for task in TASKS],
            "retrieval": {"positive": "click"},
        }
    )
    context = {"surface": "feed"}
    return Commission(
        settings, bundle, USERS, num_items=5, context=context, chunk_users=2, is_stored=True
    )


@pytest.fixture
def output(tmp_path: Path) -> str:
    return str(tmp_path / "answers")


def test_a_batch_goes_on_as_of_the_instant_of_its_start(
    commission: Commission, output: str
) -> None:
    order, manifest = commission.order(output)
    assert (manifest.num_users, manifest.num_chunks) == (3, 2)
    assert order.terms.now_ms == manifest.made_ms
    order.edition.keep(0, pa.table({"user_id": ["ann", "bo"]}))
    again, found = commission.order(output)
    assert found == manifest
    assert again.terms == order.terms
    assert again.edition.pending() == {1: 1}


@pytest.mark.parametrize(
    "other",
    [
        {"num_items": 6},
        {"context": {}},
        {"chunk_users": 3},
        {"is_stored": False},
        {"users": Users(pa.array(["dee"]), "others")},
    ],
)
def test_other_options_are_refused_unless_forced(
    commission: Commission, output: str, other: dict[str, Any]
) -> None:
    commission.order(output)[0].edition.keep(0, pa.table({"user_id": ["ann", "bo"]}))
    theirs = replace(commission, **other)
    with pytest.raises(InputError, match="made with other users, options or settings; --force"):
        theirs.order(output)
    order, manifest = theirs.order(output, is_forced=True)
    assert len(order.edition.pending()) == manifest.num_chunks


def test_other_weights_are_refused(commission: Commission, output: str) -> None:
    commission.order(output)
    serve = commission.settings.serve.model_copy(update={"value": {"like": 1.0}})
    settings = commission.settings.model_copy(update={"serve": serve})
    with pytest.raises(InputError, match="other users, options or settings"):
        replace(commission, settings=settings).order(output)


def test_another_bundle_is_refused_by_name(
    commission: Commission, output: str, bundle_without_ranker: ToyBundle
) -> None:
    commission.order(output)
    other = replace(commission, bundle=bundle_without_ranker)
    names = f"bundle {commission.bundle.id}, and the champion is {bundle_without_ranker.id}"
    with pytest.raises(InputError, match=names):
        other.order(output)


@pytest.mark.parametrize(
    ("context", "said"),
    [
        ({"surfase": "feed"}, "--context surfase=feed: no such context column; has surface"),
        ({"hour": 3}, "--context hour=3: no such context column"),
        ({"surface": [1]}, "--context: .*must be a string, a number"),
    ],
)
def test_a_wrong_context_is_refused(
    commission: Commission, output: str, context: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        replace(commission, context=context).order(output)
    assert not Path(output).exists()


def users_of(commission: Commission, path: Path, **columns: Any) -> Users:
    parquet.write_table(pa.table(columns), path)
    return Users.of(commission.settings, path)


def test_a_file_names_users_once_in_their_own_type(commission: Commission, tmp_path: Path) -> None:
    path = tmp_path / "users.parquet"
    found = users_of(commission, path, user_id=pa.array([3, 1, 3], pa.int32()), x=[0, 0, 0])
    assert (found.ids.to_pylist(), found.ids.type) == ([3, 1], pa.int64())
    texts = users_of(commission, path, user_id=pa.array(["b", "a"], pa.large_string()))
    assert (texts.ids.to_pylist(), texts.ids.type) == (["b", "a"], pa.string())
    assert texts.identity != found.identity


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"id": [1]}, "not Parquet with a column user_id"),
        ({"user_id": [1, None]}, "1 rows have no user_id"),
        ({"user_id": pa.array([], pa.int64())}, "holds no users"),
        ({"user_id": [0.5]}, "user_id: must be integers or strings, is double"),
    ],
)
def test_a_file_without_usable_users_is_refused(
    commission: Commission, tmp_path: Path, columns: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        users_of(commission, tmp_path / "users.parquet", **columns)


def test_no_file_and_no_prepared_data_are_refused(commission: Commission, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.parquet: not Parquet"):
        Users.of(commission.settings, tmp_path / "none.parquet")
    with pytest.raises(InputError, match="no prepared data"):
        Users.of(commission.settings, None)
