"""A service answers every request from one bundle, whatever happens around it."""

import asyncio
from pathlib import Path

import pytest

from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.messages import Answer, Events, Request
from serve.metrics import Metrics
from serve.plan import Plan
from serve.remote import PlacedStages
from serve.service import Service
from serve.shared import Shared
from serve.stages import Query, Stages
from serve.versions.orders import Orders
from tests.toy_bundle import TASKS, ToyBundle

REQUEST = Request(user_id=7, num_items=5)


class Gate(PlacedStages):
    """Stages in this process whose look-up waits until it may go on."""

    def __init__(self, equipment: Equipment) -> None:
        super().__init__(equipment.local(), [], equipment.bundle.id)
        self.entered, self.is_open = asyncio.Event(), asyncio.Event()

    async def hydrate(self, request: Request, plan: Plan) -> Query:
        """Wait, then look up."""
        self.entered.set()
        await self.is_open.wait()
        return await super().hydrate(request, plan)


@pytest.fixture
def settings(tmp_path: Path) -> ServeSettings:
    return ServeSettings.model_validate(
        {
            "recommender": "toy",
            "storage": {"root": str(tmp_path)},
            "dataset": {"format": "synthetic"},
            "tasks": [task.model_dump() for task in TASKS],
            "serve": {"budget": "60s"},
        }
    )


@pytest.fixture
def bundles(bundle: ToyBundle, bundle_without_ranker: ToyBundle) -> dict[str, ToyBundle]:
    return {one.id: one for one in (bundle, bundle_without_ranker)}


def service_of(settings: ServeSettings, bundles: dict[str, ToyBundle]) -> Service:
    """Return a service of the first bundle that can open the others."""
    shared = Shared(settings)

    def reopen(bundle_id: str) -> tuple[Equipment, Stages]:
        equipment = Equipment(settings, bundles[bundle_id], shared)
        return equipment, Gate(equipment)

    return Service(*reopen(next(iter(bundles))), Metrics(), reopen)


def gate(service: Service, bundle_id: str) -> Gate:
    """Return a bundle's stages."""
    stages = service.lineup.held[bundle_id].pipeline.stages
    assert isinstance(stages, Gate)
    return stages


async def ask(service: Service) -> Answer:
    gate(service, service.champion).is_open.set()
    return await service.recommend(REQUEST, "r")


def test_a_champion_answers_once_it_is_held(
    settings: ServeSettings, bundles: dict[str, ToyBundle]
) -> None:
    old, new = bundles

    async def run() -> None:
        service = service_of(settings, bundles)
        orders = Orders(new, (old, new), status={"incoming": new})
        service.follow(orders)
        assert (await ask(service)).bundle == old
        await service.lineup.opened()
        assert service.report().held == (old, new)
        assert (await ask(service)).bundle == old, "nobody has said that it is to answer"
        service.follow(orders)
        assert (await ask(service)).bundle == new
        assert service.health()["bundle"] == new
        assert service.versions() == {"incoming": new, "answering": new}
        text = service.metrics.render().decode()
        assert "millrace_bundle_switches_total 1.0" in text
        assert "millrace_bundles_held 2.0" in text

    asyncio.run(run())


def test_a_gateway_reports_how_many_requests_come(
    settings: ServeSettings, bundles: dict[str, ToyBundle]
) -> None:
    async def run() -> None:
        service = service_of(settings, bundles)
        assert service.report().rate == 0.0
        await ask(service)
        assert service.report().rate > 0.0

    asyncio.run(run())


def test_a_request_in_flight_ends_with_the_bundle_that_it_began_with(
    settings: ServeSettings, bundles: dict[str, ToyBundle]
) -> None:
    old, new = bundles

    async def run() -> None:
        service = service_of(settings, bundles)
        service.follow(Orders(old, (old, new)))
        await service.lineup.opened()
        stages = gate(service, old)
        pending = asyncio.ensure_future(service.recommend(REQUEST, "r"))
        await stages.entered.wait()
        service.follow(Orders(new, (new,)))
        assert tuple(service.lineup.held) == (new,)
        assert (await ask(service)).bundle == new
        stages.is_open.set()
        answer = await pending
        assert (answer.bundle, answer.degraded) == (old, None)

    asyncio.run(run())


def test_the_champion_that_answers_is_never_closed(
    settings: ServeSettings, bundles: dict[str, ToyBundle]
) -> None:
    old, new = bundles

    async def run() -> None:
        service = service_of(settings, bundles)
        service.follow(Orders(new, (new,)))
        await service.lineup.opened()
        assert set(service.lineup.held) == {old, new}

    asyncio.run(run())


def test_events_are_written_whatever_bundle_answers(
    settings: ServeSettings, bundles: dict[str, ToyBundle]
) -> None:
    new = list(bundles)[1]

    async def run() -> None:
        service = service_of(settings, bundles)
        service.follow(Orders(new, tuple(bundles)))
        await service.lineup.opened()
        service.follow(Orders(new, (new,)))
        events = {"events": [{"user_id": 7, "item_id": 101, "type": "click"}]}
        assert await service.record(Events.model_validate(events)) == 1
        record = service.lineup.held[new].equipment.users.store.read("7")
        assert record is not None
        assert record.item_ids == ["101"]

    asyncio.run(run())
