"""Another bundle takes over from the champion of a service under load."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.kills.processes import command_line, descendants, kill
from benchmarks.switch.reproduction import Kept, Reproduction
from cluster.config import load
from cluster.ports import free_port
from cluster.storage import MANIFEST, Storage
from retrieval.registry import CHALLENGER, Registry
from serve.client import ServiceProcess, serve_command
from serve.config import ServeSettings
from serve.shared import ONLINE
from tests.clients import CLIENTS, load_on
from tests.conftest import TINY, succeed
from tests.patience import wait_for

pytestmark = [pytest.mark.integration, pytest.mark.alone]

CHECKED = 40
NEWCOMER, LIKE = "1000000", "7"
# The two rankers are not to be told apart by an alarm.
ROLLOUT = ("serve.rollout.mode=canary", "serve.rollout.share=0.3", "serve.rollout.max_drift=100")


def versions(service: ServiceProcess) -> dict[str, Any]:
    status, body = service.client.get("/v1/versions")
    assert status == 200
    return dict(json.loads(body))


def wait_until_answering(service: ServiceProcess, bundle_id: str) -> None:
    wait_for(lambda: versions(service)["answering"] == bundle_id)


@pytest.fixture(scope="module")
def root(tiny_bundle_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the published world, with another ranker that is not published yet.

    What other tests told the world's online store stays behind.
    """
    root = tmp_path_factory.mktemp("versions") / "world"
    ignored = shutil.ignore_patterns(ONLINE)
    shutil.copytree(tiny_bundle_root, root, symlinks=True, ignore=ignored)
    overrides = [f"storage.root={root}", "train.ranking.seed=1", "train.num_workers=0"]
    succeed("train", ["--only", "ranking", *(part for o in overrides for part in ("--set", o))])
    return root


@pytest.fixture(scope="module")
def registry(root: Path) -> Registry:
    return Registry(Storage(str(root), "tiny"))


@pytest.fixture(scope="module")
def reproduction(root: Path) -> Reproduction:
    return Reproduction(load(ServeSettings, TINY, [f"storage.root={root}"]))


@pytest.fixture(scope="module", params=["fused", "split"])
def service(root: Path, request: pytest.FixtureRequest) -> Iterator[ServiceProcess]:
    port = free_port("127.0.0.1")
    overrides = [f"storage.root={root}", f"serve.topology={request.param}", *ROLLOUT]
    process = ServiceProcess(serve_command(TINY, port, overrides), port)
    with process:
        # HAProxy answers 404 for a moment while it is told of the first replica.
        wait_for(lambda: process.client.get("/v1/versions")[0] == 200)
        yield process


def test_a_published_bundle_takes_over_under_load(
    service: ServiceProcess, root: Path, registry: Registry, reproduction: Reproduction
) -> None:
    old = versions(service)["answering"]
    with load_on(service.client.url) as clients:
        others = [bundle_id for bundle_id in registry.versions().values() if bundle_id != old]
        if others:
            registry.promote(registry.version_of(others[0]))
        else:
            prepare_a_newcomer(root)
            succeed("retrieval", ["--set", f"storage.root={root}"])
        new = str(registry.bundle_of("champion"))
        wait_until_answering(service, new)
        clients.wait_for_answers()
    assert clients.statuses == {200}
    assert clients.degraded == {None}
    newcomer, known = (reproduction.shared.store.read(user_id) for user_id in (NEWCOMER, LIKE))
    assert newcomer is not None, "only newer data knows of them"
    assert known is not None
    assert newcomer.item_ids == known.item_ids
    assert set(clients.bundles) == {old, new}
    last_old = max(place for place, bundle in enumerate(clients.bundles) if bundle == old)
    assert last_old - clients.bundles.index(new) < CLIENTS, "only what was in flight ends as old"
    switched = clients.bundles.index(new)
    for one in clients.exchanges[max(switched - CHECKED, 0) : switched + CHECKED]:
        kept = Kept(one.request, one.answer, one.received_ms)
        assert reproduction.is_exact(kept)
        other = old if kept.answer["bundle"] == new else new
        assert not reproduction.is_exact(kept, other), "answers cannot be told apart"


def test_a_canary_answers_a_stable_share_of_the_users(
    service: ServiceProcess, registry: Registry
) -> None:
    champion = versions(service)["answering"]
    (other,) = {*registry.versions().values()} - {champion}
    registry.promote(registry.version_of(other), CHALLENGER)
    wait_for(lambda: (versions(service)["challenger"] or {}).get("is_held", False))
    first, second = bundles_by_user(service), bundles_by_user(service)
    assert first == second
    assert set(first.values()) == {champion, other}
    assert 0.1 < sum(bundle == other for bundle in first.values()) / len(first) < 0.5
    registry.dismiss()
    wait_for(lambda: versions(service)["challenger"] is None)
    wait_for(lambda: set(bundles_by_user(service).values()) == {champion})


def test_going_back_takes_the_earlier_champion(service: ServiceProcess, registry: Registry) -> None:
    with load_on(service.client.url) as clients:
        earlier = registry.roll_back("by hand")
        wait_until_answering(service, earlier)
        clients.wait_for_answers()
    assert clients.statuses == {200}
    assert clients.bundles[-1] == earlier
    assert versions(service)["registry"] == "ok"


def test_the_coordinator_s_death_harms_nobody(service: ServiceProcess, registry: Registry) -> None:
    champion = versions(service)["answering"]
    (other,) = {*registry.versions().values()} - {champion}
    before = coordinators(service)
    with load_on(service.client.url) as clients:
        for process_id in before:
            kill(process_id)
        wait_for(lambda: bool(coordinators(service) - before))
        registry.promote(registry.version_of(other))
        wait_until_answering(service, other)
        clients.wait_for_answers()
    assert clients.statuses == {200}
    assert clients.degraded == {None}


def prepare_a_newcomer(root: Path) -> None:
    """Let newer prepared data have one user more, who did what another one did."""
    tables = root / "tiny" / "tables"
    events = pl.read_parquet(tables / "events" / "*.parquet")
    theirs = events.filter(pl.col("user_id") == int(LIKE))
    newcomer = theirs.with_columns(user_id=pl.lit(int(NEWCOMER), events["user_id"].dtype))
    newcomer.write_parquet(tables / "events" / "part-99999.parquet")
    manifest = json.loads((tables / MANIFEST).read_text())
    (tables / MANIFEST).write_text(json.dumps({**manifest, "id": "newer"}))


def coordinators(service: ServiceProcess) -> set[int]:
    """Return the processes that tell replicas which bundle answers."""
    name = "ServeReplica:tiny:versions"
    return {one for one in descendants(service.process_id) if name in command_line(one)}


def bundles_by_user(service: ServiceProcess) -> dict[int, str]:
    """Return what answers each of some users."""
    found = {}
    for user_id in range(1, 41):
        status, answer = service.client.post("/v1/recommendations", {"user_id": user_id})
        assert (status, answer["degraded"]) == (200, None)
        found[user_id] = answer["bundle"]
    return found
