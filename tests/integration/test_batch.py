"""`python -m serve.batch` on a real Ray: killed, it goes on, and the service finds its answers."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pyarrow import parquet

from cluster.config import load
from cluster.storage import Storage
from features.stores.record import Record
from retrieval.registry import champion
from serve.admission import Admission
from serve.bulk import Bulk, Terms
from serve.commission import Users
from serve.config import ServeSettings
from serve.edition import MANIFEST
from serve.equipment import Equipment
from serve.messages import Request
from serve.metrics import Metrics
from serve.part import part_table
from serve.pipeline import Pipeline
from serve.shared import Shared
from tests.conftest import COMMAND_TIMEOUT_S, ROOT, TINY

pytestmark = pytest.mark.integration

CHUNK_USERS = 10
NUM_ITEMS = 30
NEWCOMER = 10**9


@pytest.fixture(scope="module")
def root(tiny_bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, as other tests have a store without answers, where a live event named a newcomer."""
    copy = tmp_path_factory.mktemp("batch") / "root"
    shutil.copytree(tiny_bundle_root, copy, symlinks=True)
    store = Shared(load(ServeSettings, TINY, [f"storage.root={copy}"])).store
    store.update({str(NEWCOMER): lambda _: Record("live")})
    store.close()
    return copy


def start(root: Path, output: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "serve.batch", str(TINY), "--output", str(output)]
    command += ["--set", f"storage.root={root}", "--set", "cluster.num_cpus=2"]
    command += ["--num-items", str(NUM_ITEMS), "--batch-size", str(CHUNK_USERS), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True)


def finished(process: "subprocess.Popen[str]") -> str:
    stdout, stderr = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 0, stderr
    return stdout


def killed_after_some_chunks(root: Path, output: Path) -> list[Path]:
    """Run until the first files are there, kill the command, and return them."""
    process = start(root, output)
    while not (parts := sorted(output.glob("part-*"))):
        assert process.poll() is None, process.communicate()[1]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return parts


def failing_answer(equipment: Equipment, user_id: Any) -> Any:
    """Ask a pipeline whose stages are all gone."""
    metrics = Metrics()
    admission = Admission(
        equipment.settings.serve.overload, metrics, budget_ms=60_000, max_in_flight=1
    )
    pipeline = Pipeline(
        equipment.local(()), equipment.fallback, metrics, admission, kept=equipment.kept
    )
    return asyncio.run(pipeline.answer(Request(user_id=user_id, num_items=NUM_ITEMS), "r"))


def test_a_killed_batch_goes_on_and_the_service_answers_from_it(root: Path, tmp_path: Path) -> None:
    output = tmp_path / "answers"
    first = {part.name: part.stat().st_mtime_ns for part in killed_after_some_chunks(root, output)}
    manifest = json.loads((output / MANIFEST).read_text())
    assert not manifest["is_complete"]
    stdout = finished(start(root, output))
    assert "users/s" in stdout
    assert json.loads((output / MANIFEST).read_text()) == manifest | {"is_complete": True}
    assert {name: (output / name).stat().st_mtime_ns for name in first} == first

    torch.set_num_threads(1)
    storage = Storage(str(root), "tiny")
    settings = load(ServeSettings, TINY, [f"storage.root={root}"])
    user_ids = Users.of(settings, None).ids
    assert user_ids[-1].as_py() == NEWCOMER
    equipment = Equipment.open(settings, champion(storage))
    terms = Terms(NUM_ITEMS, {}, manifest["made_ms"])
    expected = Bulk(equipment, terms).answers(user_ids.to_pylist())
    table = part_table(equipment.bundle, user_ids, expected, made_ms=terms.now_ms)
    assert parquet.read_table(output).to_pylist() == table.to_pylist()

    answer = failing_answer(equipment, user_ids[0].as_py())
    assert answer.degraded == "hydrate failed"
    assert {item.source for item in answer.items} == {"precomputed"}
    assert [item.item_id for item in answer.items] == [item.item_id for item in expected[0].items]
    equipment.users.store.close()

    assert "up to date" in finished(start(root, output))
