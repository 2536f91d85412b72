"""`python -m features` as a user runs it: on Ray, again, killed, and with wrong input."""

import filecmp
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.examples import Examples
from features.timelines import SPLITS
from tests.conftest import ROOT, TINY, run_command

pytestmark = pytest.mark.integration

START_TIMEOUT_S = 60


def features(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("features", "--set", f"storage.root={root}", *arguments)


def test_a_second_run_finds_everything_up_to_date(tiny_root: Path) -> None:
    again = features(tiny_root)
    assert again.returncode == 0
    assert again.stdout.rstrip().endswith("up to date")


def test_the_artifacts_hold_what_the_manifest_says(tiny_root: Path) -> None:
    examples = Examples(tiny_root / "tiny" / "examples")
    facts = examples.manifest["dataset"]
    sizes = {
        split: sum(len(examples.shard(split, p)) for p in range(examples.num_partitions))
        for split in SPLITS
    }
    assert sizes == {split: facts["split"][split] for split in SPLITS}
    assert sum(sizes.values()) == facts["events"]
    assert facts["users"] == len(examples.user_ids) == len(examples.users.codes) - 1
    assert facts["items"] == examples.catalogue.num_items


def test_preparing_again_writes_the_same_bytes(tiny_root: Path, tmp_path: Path) -> None:
    assert features(tmp_path).returncode == 0
    one, other = tiny_root / "tiny", tmp_path / "tiny"
    files = {file.relative_to(one) for file in (one / "examples").rglob("*") if file.is_file()}
    assert files == {
        file.relative_to(other) for file in (other / "examples").rglob("*") if file.is_file()
    }
    compared = sorted(str(file) for file in files if file.name != "manifest.json")
    same, different, failed = filecmp.cmpfiles(one, other, compared, shallow=False)
    assert (len(same), different, failed) == (len(compared), [], [])


def test_many_partitions_on_several_workers_hold_the_same_examples(
    tiny_root: Path, tmp_path: Path
) -> None:
    done = features(tmp_path, "--set", "features.block_rows=3000", "--set", "cluster.num_cpus=3")
    assert done.returncode == 0, done.stderr
    one = Examples(tiny_root / "tiny" / "examples")
    many = Examples(tmp_path / "tiny" / "examples")
    assert many.num_partitions > 4
    assert many.schema == one.schema
    assert examples_by_value(many) == examples_by_value(one)


def test_a_killed_preparation_leaves_nothing_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    command = subprocess.Popen(
        [sys.executable, "-m", "features", str(TINY), "--set", f"storage.root={tmp_path}"],
        cwd=ROOT,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    folder = tmp_path / "tiny"
    deadline = time.monotonic() + START_TIMEOUT_S
    while not list(folder.glob(".preparing-*/ingested/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(command.pid, signal.SIGKILL)
    command.wait()
    assert not (folder / "examples").exists()
    assert not (folder / "tables").exists()
    assert features(tmp_path).returncode == 0
    assert sorted(path.name for path in folder.iterdir() if path.is_symlink()) == [
        "examples",
        "tables",
    ]
    assert not list(folder.glob(".preparing-*"))


@pytest.mark.parametrize(
    ("override", "message", "code"),
    [
        ("features.split.test=400d", "train split is empty", 1),
        ("features.min_cuont=3", "did you mean 'min_count'", 2),
        ("features.context=['surfac']", "did you mean 'surface'", 2),
        ("tasks.0.column=clicks", "did you mean 'click'", 2),
    ],
)
def test_wrong_input_is_one_line(override: str, message: str, code: int, tmp_path: Path) -> None:
    done = features(tmp_path, "--set", override)
    assert done.returncode == code
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "tiny" / "examples").exists()


def test_a_cluster_that_does_not_answer_is_named(tmp_path: Path) -> None:
    done = features(tmp_path, "--set", "cluster.address=127.0.0.1:9")
    assert done.returncode == 1
    assert "error: cluster.address: cannot join '127.0.0.1:9'" in done.stderr


def test_a_local_ray_wants_a_token_and_saves_none(tmp_path: Path) -> None:
    script = """
import os, ray
from cluster.config import ClusterConfig
from cluster.session import session
with session(ClusterConfig(num_cpus=1)):
    print(ray.get(ray.remote(lambda: os.environ["RAY_AUTH_MODE"]).remote()))
"""
    environment = {key: value for key, value in os.environ.items() if key != "RAY_AUTH_MODE"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=START_TIMEOUT_S,
    )
    assert done.stdout.split() == ["token"]
    assert not (tmp_path / ".ray" / "auth_token").exists()


def examples_by_value(examples: Examples) -> list[tuple[object, ...]]:
    """Return the test split's examples by value, without partition or user rows."""
    found = []
    for partition in range(examples.num_partitions):
        shard = examples.shard("test", partition)
        timelines = examples.timelines(partition)
        for i in range(len(shard)):
            span = slice(int(shard.history_begin[i]), int(shard.history_end[i]))
            found.append(
                (
                    examples.user_ids[int(shard.user[i]) - 1],
                    int(shard.item[i]),
                    int(shard.timestamp[i]),
                    shard.user_counts[i].tobytes(),
                    shard.item_counts[i].tobytes(),
                    timelines.items[span].tobytes(),
                    shard.labels[i].tobytes(),
                )
            )
    return sorted(found)  # type: ignore[type-var]
