"""Publishing: complete bundles, one champion, and no kill that leaves half of anything."""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cluster.errors import ConfigError, InputError
from cluster.storage import Storage
from features.schema import Schema
from models.bundle import Bundle, is_undamaged
from retrieval.config import RetrievalSettings
from retrieval.ingredients import Ingredients
from retrieval.publish import is_up_to_date, publish
from retrieval.registry import CHALLENGER, Registry, champion
from tests.conftest import ROOT, run_command
from tests.toy_recommender import (
    NAME,
    edited_manifest,
    toy_recommender,
    toy_settings,
    train_toy,
)

pytestmark = [
    pytest.mark.integration,
    # MLflow asks SQLAlchemy 2.1 for a loader strategy that it deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]

STEPS = ("files", "store", "register", "promote", "prune")
# One process per kill, forked from one that has imported everything.
KILLED = """
import os, signal, sys
from pathlib import Path
import mlflow
from cluster.storage import Storage
from retrieval.publish import publish
from tests.toy_recommender import NAME, toy_settings

def killed_at(last):
    def announce(step):
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)
    return announce

for step in sys.argv[2:]:
    root = Path(sys.argv[1]) / step
    child = os.fork()
    if not child:
        publish(toy_settings(root), Storage(str(root), NAME), killed_at(step))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, step
"""


@pytest.fixture(scope="module")
def published_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root where a toy recommender was published and then trained anew."""
    root = tmp_path_factory.mktemp("published")
    storage = toy_recommender(root)
    publish(toy_settings(root), storage)
    train_toy(storage, seed=1)
    return root


@pytest.fixture
def storage(published_root: Path, tmp_path: Path) -> Storage:
    """A copy of it."""
    shutil.copytree(published_root, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Storage(str(tmp_path), NAME)


@pytest.fixture
def first(storage: Storage) -> str:
    """The id of the bundle that is the champion."""
    return champion(storage).name


@pytest.fixture
def settings(tmp_path: Path) -> RetrievalSettings:
    """Its settings."""
    return toy_settings(tmp_path)


def test_published_bundle_is_complete(storage: Storage, tmp_path: Path) -> None:
    settings = toy_settings(tmp_path, popular={"context": "tab"})
    published = publish(settings, storage)
    bundle = Bundle(champion(storage))
    assert is_undamaged(bundle.folder)
    assert bundle.id == published.bundle
    vectors = bundle.array("item_vectors")
    assert vectors.shape == (61, 8)
    assert not vectors[0].any()
    np.testing.assert_allclose(np.linalg.norm(vectors[1:], axis=1), 1, rtol=1e-5)
    assert bundle.array("item_counts").shape == (61, 2, 2)
    assert bundle.array("item_counts")[7, 0].tolist() == [10, 2]
    assert bundle.array("context_counts/context.tab").shape == (3, 2)
    assert bundle.array("popularity").shape == (61,)
    assert bundle.config["recommender"] == "toy"
    assert bundle.manifest["recall"] == 1
    assert is_up_to_date(settings, storage, bundle)
    assert not is_up_to_date(toy_settings(tmp_path), storage, bundle)


def test_steps_are_announced_in_order_and_the_alias_moves_last(
    storage: Storage, settings: RetrievalSettings
) -> None:
    steps: list[str] = []
    publish(settings, storage, steps.append)
    assert steps.index("seal") < steps.index("try out") < steps.index("store")
    assert steps[-3:] == ["register", "promote", "prune"]


@pytest.fixture(scope="module")
def killed(published_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copies of the published root, by the step before which a second publisher was killed."""
    roots = tmp_path_factory.mktemp("killed")
    for step in STEPS:
        shutil.copytree(published_root, roots / step, symlinks=True)
    command = [sys.executable, "-c", KILLED, str(roots), *STEPS]
    subprocess.run(command, cwd=ROOT, timeout=300, check=True)
    return roots


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_moment_leaves_a_whole_champion(step: str, killed: Path) -> None:
    storage = Storage(str(killed / step), NAME)
    first = next(iter(Registry(storage).versions().values()))
    serving = Bundle(champion(storage))
    assert is_undamaged(serving.folder)
    assert (serving.id == first) == (step != "prune")
    second = publish(toy_settings(killed / step), storage)
    assert champion(storage).name == second.bundle != first
    assert list(Registry(storage).versions().values()) == [first, second.bundle]
    folders = [path for path in (storage.local / "bundles").iterdir() if path.is_dir()]
    assert len(folders) == 4, "two bundles and their links, nothing of the killed one"


def test_same_content_is_the_same_version(storage: Storage, settings: RetrievalSettings) -> None:
    first, second = publish(settings, storage), publish(settings, storage)
    assert (first.bundle, first.version) == (second.bundle, second.version)


def test_damaged_champion_is_noticed_and_mended(
    storage: Storage, settings: RetrievalSettings
) -> None:
    train_toy(storage, seed=0)
    popularity = champion(storage) / "popularity.npy"
    popularity.write_bytes(popularity.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"popularity\.npy: truncated bundle"):
        Bundle(champion(storage))
    publish(settings, storage)
    assert is_undamaged(champion(storage))


def test_oldest_bundles_go_but_no_recent_champion_and_none_with_an_alias(
    storage: Storage, tmp_path: Path
) -> None:
    published = []
    for half_life in ("1d", "2d", "3d", "4d", "5d", "6d"):
        settings = toy_settings(tmp_path, popular={"half_life": half_life}, keep_bundles=2)
        published.append(publish(settings, storage))
        if half_life == "1d":
            Registry(storage).promote(published[0].version, CHALLENGER)
    kept = {published[place].bundle for place in (0, 2, 3, 4, 5)}
    assert set(storage.names("bundles")) == kept
    assert set(Registry(storage).versions().values()) == kept
    assert champion(storage).name == published[5].bundle


def test_two_publishers_do_not_meet(storage: Storage, settings: RetrievalSettings) -> None:
    with (storage.local / "bundles" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is publishing"):
            publish(settings, storage)


def test_poor_index_is_not_published(storage: Storage, tmp_path: Path, first: str) -> None:
    train_toy(storage, spread=1e-4)  # half precision cannot tell these items apart
    few = toy_settings(tmp_path, quotas={"two_tower": 5, "popular": 0, "fresh": 0})
    with pytest.raises(InputError, match="not published: the exact index finds"):
        publish(few, storage)
    assert champion(storage).name == first


def test_unmatched_fingerprints_are_refused_by_name(
    storage: Storage, settings: RetrievalSettings
) -> None:
    folder = storage.fetch("trained/retrieval")
    with edited_manifest(folder) as manifest:
        manifest["fingerprint"] = "0123456789abcdef"
    ours = Schema.open(storage.fetch("examples")).fingerprint
    with pytest.raises(InputError, match=f"trained/retrieval.* 0123456789abcdef, .* {ours}"):
        publish(settings, storage)


def test_what_is_missing_is_named(tmp_path: Path, storage: Storage) -> None:
    both = toy_settings(tmp_path).model_dump() | {"train": {"models": ["retrieval", "ranking"]}}
    with pytest.raises(InputError, match="trained/ranking: no trained model"):
        Ingredients.open(RetrievalSettings.model_validate(both), storage)
    elsewhere = Storage(str(tmp_path), "nobody")
    with pytest.raises(InputError, match=r"examples: no prepared data"):
        Ingredients.open(toy_settings(tmp_path), elsewhere)
    with pytest.raises(InputError, match=r"nobody: no published bundle; run"):
        champion(elsewhere)
    (storage.fetch("trained/retrieval") / "item_tower.pt2").unlink()
    with pytest.raises(InputError, match=r"has no item_tower\.pt2"):
        Ingredients.open(toy_settings(tmp_path), storage)


def test_name_that_the_registry_refuses_is_a_config_error(storage: Storage) -> None:
    with pytest.raises(ConfigError, match="recommender"):
        Registry(Storage(storage.root, "a:b")).register("id", {})


def test_command_publishes_the_tiny_world_once(tiny_bundle_root: Path) -> None:
    storage = Storage(str(tiny_bundle_root), "tiny")
    bundle = Bundle(champion(storage))
    assert bundle.has_ranker
    assert is_undamaged(bundle.folder)
    again = run_command("retrieval", "--set", f"storage.root={tiny_bundle_root}")
    assert again.returncode == 0, again.stderr
    assert again.stdout == f"retrieval: up to date, bundle {bundle.id}\n"


def test_command_complains_in_one_line(tmp_path: Path) -> None:
    failed = run_command("retrieval", "--set", f"storage.root={tmp_path}")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert "no prepared data; run `python -m features CONFIG` first" in failed.stderr
    assert failed.stderr.count("\n") == 1
    wrong = run_command("retrieval", "--set", "retrieval.quotas.two_towers=5")
    assert wrong.returncode == 2
    assert "did you mean 'two_tower'?" in wrong.stderr
