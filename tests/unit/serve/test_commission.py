"""What a batch is asked to make: its users, its terms, and where it goes on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from cluster.errors import ConfigError, InputError
from features.encoding import DAY_MS
from features.stores.record import Record
from serve.commission import Commission, Users
from serve.config import ServeSettings
from serve.shared import Shared
from tests.in_process import TableAdapter, prepare_here
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


class World:
    """Prepared data of two users, and an online store that may know more."""

    def __init__(self, settings: ServeSettings, user_ids: list[Any]) -> None:
        self.settings = settings
        item_ids = [1, 2, 1, 2, 1]
        instants = pa.array([day * DAY_MS for day in range(5)], pa.timestamp("ms", "UTC"))
        columns = {"user_id": [user_ids[i % 2] for i in range(5)], "item_id": item_ids}
        events = pa.table({**columns, "timestamp": instants, "click": [True] * 5})
        split = {"validation": "1d", "test": "1d"}
        adapter = TableAdapter([events])
        prepare_here(settings.storage.root, adapter, {"split": split, "min_count": 1})

    def hear_of(self, *user_ids: str) -> None:
        """Write live events of users."""
        store = Shared(self.settings).store
        store.update({user_id: lambda _: Record("any") for user_id in user_ids})
        store.close()

    @property
    def users(self) -> Users:
        """All users."""
        return Users.of(self.settings, None)


def test_users_known_from_live_events_alone_follow_those_of_the_data(
    commission: Commission,
) -> None:
    world = World(commission.settings, ["bo", "ann"])
    prepared = world.users
    world.hear_of("zoe", "ann", "10")
    assert world.users.ids.to_pylist() == [*prepared.ids.to_pylist(), "10", "zoe"]
    assert sorted(prepared.ids.to_pylist()) == ["ann", "bo"]
    assert world.users.num_foreign == 0


def test_live_users_whose_ids_are_not_of_the_data_s_type_are_counted(
    commission: Commission,
) -> None:
    world = World(commission.settings, [7, 8])
    world.hear_of("10", "9", "7", "guest", "09", "1.5", str(2**63))
    users = world.users
    assert (users.ids.type, users.ids.to_pylist()[2:]) == (pa.int64(), [9, 10])
    assert users.num_foreign == 4


def test_a_batch_goes_on_when_live_events_name_new_users(
    commission: Commission, output: str
) -> None:
    world = World(commission.settings, ["bo", "ann"])
    begun = replace(commission, users=world.users)
    begun.order(output)[0].edition.keep(0, pa.table({"user_id": ["ann", "bo"]}))
    world.hear_of("zoe")
    order, manifest = replace(commission, users=world.users).order(output)
    assert (manifest.num_users, order.edition.pending()) == (2, {})
    order, manifest = replace(commission, users=world.users).order(output, is_forced=True)
    assert (manifest.num_users, order.edition.pending()) == (3, {0: 2, 1: 1})


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
