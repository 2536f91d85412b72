"""A stage's replica runs what requests ask for, and knows of those that do not ask."""

import asyncio
from dataclasses import replace

import pytest

from retrieval.registry import Standing
from serve.config import ServeConfig
from serve.hydration import Hydrator
from serve.local import LocalStages
from serve.messages import Request
from serve.plan import Plan
from serve.progress import Progress
from serve.stages import BundleMismatchError
from serve.station import Station
from serve.threads import Threads
from serve.versions.config import RolloutConfig
from serve.versions.coordinator import SETTLE_S, Coordinator
from serve.versions.orders import Orders, Report
from serve.versions.sighting import Sighting

NAME = "lookup"
DEPLOYMENTS = [
    {"name": NAME, "stages": ["hydrate"]},
    {"name": "others", "stages": ["retrieve", "rank", "rerank"]},
]
HYDRATE = ("hydrate",)


@pytest.fixture
def station(hydrator: Hydrator) -> Station:
    """A replica that looks users up in the toy bundle."""
    config = ServeConfig.model_validate({"deployments": DEPLOYMENTS, "budget": "60s"})
    stages = LocalStages(hydrator, None, ranker=None, reranker=None, threads=Threads(1))
    station = Station(config, NAME, lambda bundle_id: stages)
    station.lineup.held[hydrator.bundle.id] = stages
    return station


def orders_of(station: Station, rate: float) -> Orders:
    """Let a coordinator hear a gateway to which requests come, then the station."""
    (bundle_id,) = station.lineup.held
    now_s = 0.0
    coordinator = Coordinator(RolloutConfig(), bundle_id, clock=lambda: now_s)
    now_s = SETTLE_S
    coordinator.observe(Sighting(Standing(bundle_id, None)))
    coordinator.sync(Report("g", "gateway", (bundle_id,), champion=bundle_id, rate=rate))
    orders = coordinator.sync(station.report())
    assert orders is not None
    assert orders.status["held"] == {bundle_id: 2}
    return orders


async def call(station: Station, bundle_id: str) -> Progress:
    return await station.run(HYDRATE, Progress(Plan(bundle=bundle_id), Request(user_id=7)))


def test_stages_are_those_of_the_bundle_that_the_request_names(station: Station) -> None:
    (bundle_id,) = station.lineup.held
    made = asyncio.run(call(station, bundle_id))
    assert made.query is not None
    assert made.query.bundle == bundle_id
    with pytest.raises(BundleMismatchError, match="does not hold bundle other"):
        asyncio.run(call(station, "other"))


def test_without_calls_a_replica_tells_what_the_requests_at_the_gateways_would_take(
    station: Station,
) -> None:
    (bundle_id,) = station.lineup.held
    asyncio.run(call(station, bundle_id))
    told = []
    for rate in (100.0, 300.0):
        station.follow(orders_of(station, rate))
        told.append(station.workload.stats()["offered"])
    assert 0 < 3 * told[0] == pytest.approx(told[1])


def test_a_station_opens_what_the_orders_want(station: Station) -> None:
    (bundle_id,) = station.lineup.held
    orders = replace(orders_of(station, 0.0), wanted=(bundle_id, "next"))

    async def run() -> None:
        station.follow(orders)
        await station.lineup.opened()

    asyncio.run(run())
    assert station.report().held == (bundle_id, "next")
