"""Which bundle is to answer, in a real registry: promoted, taken back, watched, told."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.errors import InputError
from cluster.storage import Storage
from retrieval.publish import publish
from retrieval.registry import CHALLENGER, CHAMPION, Registry
from serve.versions.failures import RETRY_S
from serve.versions.watch import RegistryWatch, UnreachableError
from tests.conftest import ROOT
from tests.toy_recommender import NAME, toy_recommender, toy_settings

pytestmark = pytest.mark.integration

HALF_LIVES = ("1d", "2d", "3d")
CONFIG = """
recommender = "toy"
[storage]
root = "{root}"
[dataset]
format = "synthetic"
[[tasks]]
name = "click"
column = "click"
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A root with three bundles that were champion one after the other, and their ids."""
    root = tmp_path_factory.mktemp("published")
    storage = toy_recommender(root)
    made = [
        publish(toy_settings(root, popular={"half_life": half_life}), storage).bundle
        for half_life in HALF_LIVES
    ]
    return root, made


@pytest.fixture
def ids(published: tuple[Path, list[str]]) -> list[str]:
    return published[1]


@pytest.fixture
def storage(published: tuple[Path, list[str]], tmp_path: Path) -> Storage:
    """A copy of it that a test may change."""
    shutil.copytree(published[0], tmp_path / "world", symlinks=True)
    return Storage(str(tmp_path / "world"), NAME)


@pytest.fixture
def registry(storage: Storage) -> Registry:
    return Registry(storage)


@pytest.fixture
def watch(storage: Storage) -> RegistryWatch:
    return RegistryWatch(storage)


def rollout(storage: Storage, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m serve.rollout`."""
    config = Path(storage.root) / "toy.toml"
    config.write_text(CONFIG.format(root=storage.root))
    command = [sys.executable, "-m", "serve.rollout", str(config), *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def test_champions_are_remembered_in_the_order_of_their_promotion(
    registry: Registry, ids: list[str]
) -> None:
    standing = registry.standing()
    assert (standing.champion, standing.previous) == (ids[2], ids[1])
    assert standing.champions == tuple(reversed(ids))
    registry.promote(registry.version_of(ids[0]))
    standing = registry.standing()
    assert standing.champions == (ids[0], ids[2], ids[1])
    assert standing.previous == ids[2]


def test_going_back_goes_on_to_ever_earlier_champions(registry: Registry, ids: list[str]) -> None:
    assert registry.roll_back("by hand") == ids[1]
    assert registry.roll_back("by hand") == ids[0]
    with pytest.raises(InputError, match="no earlier champion"):
        registry.roll_back("by hand")
    assert registry.bundle_of(CHAMPION) == ids[0]
    assert set(registry.standing().refused) == {ids[1], ids[2]}


def test_a_refused_bundle_may_be_promoted_again(registry: Registry, ids: list[str]) -> None:
    registry.refuse(ids[2], "too slow")
    assert registry.standing().refused == {ids[2]: "too slow"}
    assert registry.bundle_of(CHAMPION) == ids[1]
    registry.promote(registry.version_of(ids[2]))
    assert registry.standing().refused == {}
    assert registry.bundle_of(CHAMPION) == ids[2]


def test_a_refused_challenger_leaves_the_champion_alone(registry: Registry, ids: list[str]) -> None:
    registry.promote(registry.version_of(ids[0]), CHALLENGER)
    registry.refuse(ids[0], "drift")
    standing = registry.standing()
    assert (standing.champion, standing.challenger) == (ids[2], None)


def test_the_last_three_champions_stay_whatever_is_published_after_them(
    storage: Storage, registry: Registry, ids: list[str]
) -> None:
    for half_life in ("4d", "5d", "6d"):
        settings = toy_settings(
            Path(storage.root), popular={"half_life": half_life}, keep_bundles=1
        )
        publish(settings, storage, alias=CHALLENGER)
    standing = registry.standing()
    assert standing.champion == ids[2], "a challenger is no champion"
    assert set(registry.versions().values()) == {*ids, standing.challenger}
    for bundle_id in ids:
        assert storage.exists(f"bundles/{bundle_id}")


def test_the_watch_sees_what_changes(
    watch: RegistryWatch, registry: Registry, ids: list[str]
) -> None:
    assert watch.look().standing.champion == ids[2]
    registry.promote(registry.version_of(ids[0]))
    assert watch.look().standing.champion == ids[0]
    watch.refuse(ids[0], "too slow")
    standing = watch.look().standing
    assert (standing.champion, standing.refused) == (ids[2], {ids[0]: "too slow"})


def test_a_damaged_bundle_is_told_from_a_sound_one_and_tried_again(
    storage: Storage, registry: Registry, ids: list[str]
) -> None:
    now_s = 0.0
    watch = RegistryWatch(storage, clock=lambda: now_s)
    popularity = storage.fetch(f"bundles/{ids[1]}") / "popularity.npy"
    whole = popularity.read_bytes()
    popularity.write_bytes(whole[:-4])
    registry.promote(registry.version_of(ids[1]))
    unsound = watch.look().unsound
    assert "popularity.npy: truncated bundle" in unsound[ids[1]]
    popularity.write_bytes(whole)
    assert ids[1] in watch.look().unsound
    now_s += RETRY_S + 1
    assert watch.look().unsound == {}


def test_another_recommender_s_bundle_cannot_be_used(
    storage: Storage, registry: Registry, ids: list[str]
) -> None:
    other = Registry(Storage(storage.root, "other"))
    other.promote(other.register(ids[0], {}))
    folder = Path(storage.root) / "other" / "bundles"
    folder.mkdir(parents=True)
    shutil.copytree(storage.fetch(f"bundles/{ids[0]}"), folder / ids[0])
    unsound = RegistryWatch(Storage(storage.root, "other")).look().unsound
    assert "a bundle of recommender 'toy'" in unsound[ids[0]]


def test_a_registry_that_is_gone_is_named_and_found_again(
    watch: RegistryWatch, storage: Storage, ids: list[str]
) -> None:
    watch.look()
    database = Path(storage.root) / "mlflow.db"
    database.rename(database.with_suffix(".gone"))
    with pytest.raises(UnreachableError, match=r"mlflow\.db"):
        watch.look()
    database.with_suffix(".gone").rename(database)
    assert watch.look().standing.champion == ids[2]


def test_the_command_promotes_rolls_back_and_says_how_things_stand(
    storage: Storage, registry: Registry, ids: list[str]
) -> None:
    registry.promote(registry.version_of(ids[0]), CHALLENGER)
    told = rollout(storage, "status", "--port", "9").stdout
    assert f"  champion   {ids[2]}, version 3\n  challenger {ids[0]}, version 1\n" in told
    assert f"  earlier    {ids[1]}, version 2\n" in told
    assert "http://127.0.0.1:9: no answer" in told
    assert rollout(storage, "promote").returncode == 0
    standing = registry.standing()
    assert (standing.champion, standing.challenger) == (ids[0], None)
    told = rollout(storage, "rollback").stdout
    assert f"  refused    {ids[0]}, version 1: rolled back by hand\n" in told
    assert registry.bundle_of(CHAMPION) == ids[2]
    missing = rollout(storage, "promote", "--bundle", "nothing")
    assert (missing.returncode, missing.stderr) == (1, "error: toy: no published bundle nothing\n")
