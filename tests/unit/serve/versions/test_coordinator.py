"""Which bundle answers, decided from what replicas report and what the registry says."""

from collections.abc import Callable

import pytest

from retrieval.registry import Standing
from serve.versions.config import RolloutConfig
from serve.versions.coordinator import (
    LINGER_S,
    SETTLE_S,
    Coordinator,
)
from serve.versions.failures import RETRY_S
from serve.versions.orders import Orders, Report
from serve.versions.roster import LEASE_S, RATE_LEASE_S
from serve.versions.sighting import Sighting
from serve.versions.tally import Tally

Count = Callable[..., Tally]
CONFIG = RolloutConfig(min_answers=100, watch="60s")


class Clock:
    """Goes on when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        """Return the instant."""
        return self.now_s


class Fleet:
    """A coordinator and the replicas that report to it.

    Args:
        names: of the replicas; those that begin with "gateway" answer.
    """

    def __init__(self, *names: str) -> None:
        self.clock = Clock()
        self.coordinator = Coordinator(CONFIG, "old", clock=self.clock)
        self.held: dict[str, tuple[str, ...]] = dict.fromkeys(names, ("old",))
        self.champions = {name: "old" for name in names if name.startswith("gateway")}
        self.trials: dict[str, dict[str, Tally]] = {name: {} for name in self.champions}
        self.trial: Tally | None = Tally()
        """What becomes of the requests on which a bundle is tried; None never ends it."""
        self.fills: list[str] = []
        self.does_fill = True
        self.clock.now_s += SETTLE_S
        self.see("old")
        self.sync()

    def see(self, champion: str | None, challenger: str | None = None, **refused: str) -> None:
        """Let the registry name a champion and a challenger."""
        self.coordinator.observe(Sighting(Standing(champion, challenger, refused=refused)))

    def sync(self, answers: dict[str, Tally] | None = None, **failed: str) -> dict[str, Orders]:
        """Let every replica report once, and follow.

        Args:
            answers: what the first replica has counted.
            failed: why no replica could open bundles.
        """
        told = {}
        counted = answers or {}
        if self.does_fill:
            self.fill()
        for name, held in self.held.items():
            champion, trials = self.champions.get(name), self.trials.get(name, {})
            orders = self.coordinator.sync(
                Report(name, name, held, failed, champion, answers=counted, trials=trials)
            )
            assert orders is not None
            counted, told[name] = {}, orders
            if name in self.champions:
                self._answer(name, orders)
        return told

    def settle(self) -> dict[str, Orders]:
        """Let every replica report until nothing moves."""
        return [self.sync() for _ in range(6)][-1]

    def fill(self) -> None:
        """Fill the online store for whichever bundle that is due for."""
        bundle_id = self.coordinator.unfilled
        if bundle_id is not None:
            self.coordinator.begin_filling()
            self.fills.append(bundle_id)
            self.coordinator.note_filled(bundle_id)

    def open(self, bundle_id: str, *names: str) -> None:
        """Let replicas open a bundle."""
        for name in names or self.held:
            self.held[name] += (bundle_id,)

    def switch(self, bundle_id: str) -> None:
        """Let a bundle take over."""
        self.see(bundle_id)
        self.open(bundle_id)
        self.settle()
        assert self.answering == {bundle_id}

    @property
    def answering(self) -> set[str]:
        """What the gateways answer from."""
        return set(self.champions.values())

    def _answer(self, name: str, orders: Orders) -> None:
        if orders.champion in self.held[name]:
            self.champions[name] = orders.champion
        is_tried = orders.on_trial is not None and self.trial is not None
        self.trials[name] = {orders.on_trial: self.trial} if is_tried else {}


@pytest.fixture
def fleet() -> Fleet:
    return Fleet("gateway-1", "gateway-2", "ranker")


def test_a_new_champion_is_opened_everywhere_before_anybody_answers_from_it(fleet: Fleet) -> None:
    fleet.see("new")
    for orders in fleet.sync().values():
        assert (orders.champion, orders.wanted, orders.on_trial) == ("old", ("old", "new"), None)
    fleet.open("new", "gateway-1", "gateway-2")
    fleet.sync()
    assert fleet.answering == {"old"}, "the ranker does not hold it"
    fleet.open("new", "ranker")
    fleet.settle()
    assert fleet.answering == {"new"}


def test_a_bundle_is_tried_on_live_requests_before_it_takes_over(fleet: Fleet) -> None:
    fleet.trial = None
    fleet.see("new")
    fleet.open("new")
    fleet.sync()
    assert {orders.on_trial for orders in fleet.sync().values()} == {"new"}
    assert fleet.answering == {"old"}, "its trial has not ended"
    fleet.trial = Tally(answers=20)
    orders = fleet.settle()
    assert fleet.answering == {"new"}
    assert orders["ranker"].on_trial is None


def test_the_store_is_filled_once_before_a_bundle_is_tried(fleet: Fleet) -> None:
    fleet.does_fill = False
    fleet.see("new")
    fleet.open("new", "gateway-1", "gateway-2")
    fleet.settle()
    assert fleet.coordinator.unfilled is None, "the ranker does not hold it"
    fleet.open("new", "ranker")
    assert fleet.settle()["ranker"].on_trial is None
    assert fleet.coordinator.unfilled == "new"
    fleet.does_fill = True
    fleet.settle()
    assert (fleet.answering, fleet.fills) == ({"new"}, ["new"])


def test_a_replica_that_starts_during_the_filling_changes_nothing_of_it(fleet: Fleet) -> None:
    fleet.does_fill = False
    fleet.see("new")
    fleet.open("new")
    fleet.settle()
    fleet.coordinator.begin_filling()
    fleet.held["ranker-2"] = ()
    fleet.sync()
    assert fleet.coordinator.unfilled is None
    fleet.coordinator.note_filled("new")
    fleet.open("new", "ranker-2")
    fleet.settle()
    assert fleet.answering == {"new"}


def test_a_bundle_for_which_the_store_cannot_be_filled_does_not_take_over(fleet: Fleet) -> None:
    fleet.does_fill = False
    fleet.see("new")
    fleet.open("new")
    fleet.settle()
    fleet.coordinator.begin_filling()
    fleet.coordinator.note_filled("new", "events have no 'like'")
    orders = fleet.settle()["ranker"]
    assert (fleet.answering, orders.wanted) == ({"old"}, ("old",))
    assert orders.status["refused"] == {"new": "events have no 'like'"}
    assert fleet.coordinator.unfilled == "old", "what was begun for the other is to be undone"
    fleet.does_fill = True
    fleet.clock.now_s += RETRY_S + 1
    fleet.settle()
    assert (fleet.answering, fleet.fills) == ({"new"}, ["old", "new"])


def test_a_champion_that_comes_back_answers_before_the_store_is_filled_for_it(fleet: Fleet) -> None:
    fleet.switch("new")
    fleet.does_fill = False
    fleet.see("old", new="rolled back by hand")
    fleet.settle()
    assert fleet.answering == {"old"}
    assert fleet.coordinator.unfilled == "old"


def test_a_bundle_that_fails_its_trial_is_taken_back(fleet: Fleet) -> None:
    fleet.trial = Tally(answers=20, faults=15)
    fleet.see("new")
    fleet.open("new")
    orders = fleet.settle()["ranker"]
    assert fleet.answering == {"old"}
    assert orders.wanted == ("old",)
    (reason,) = fleet.coordinator.refusals.values()
    assert reason.startswith("on trial: of 40 answers 30 missed a stage")
    fleet.see("old", new=reason)
    assert fleet.coordinator.refusals == {}, "the registry knows"


def test_a_refused_bundle_that_is_promoted_again_is_given_another_chance(fleet: Fleet) -> None:
    fleet.trial = Tally(answers=20, faults=15)
    fleet.see("new")
    fleet.open("new")
    fleet.settle()
    fleet.see("old")
    fleet.trial = Tally(answers=20)
    fleet.see("new")
    fleet.settle()
    assert fleet.answering == {"new"}


def test_the_old_champion_is_held_for_a_while(fleet: Fleet) -> None:
    fleet.switch("new")
    for _ in range(6):
        assert fleet.sync()["ranker"].wanted == ("new", "old")
        fleet.clock.now_s += 10
    fleet.sync()
    orders = fleet.sync()["ranker"]
    assert (orders.wanted, set(orders.kept)) == (("new",), {"new", "old"})
    fleet.clock.now_s += LINGER_S + 1
    assert fleet.sync()["ranker"].kept == ("new",)


def test_an_alarm_after_the_switch_brings_the_old_champion_back(fleet: Fleet, count: Count) -> None:
    fleet.sync({"old": count(200, seed=1)})
    fleet.switch("new")
    fleet.sync({"new": count(150, seed=2, faults=1)})
    assert fleet.answering == {"new"}
    fleet.sync({"new": count(50, seed=3, faults=20)})
    fleet.sync()
    assert fleet.answering == {"old"}
    assert "21 missed a stage" in fleet.coordinator.refusals["new"]
    assert fleet.sync()["ranker"].wanted == ("old",)


def test_an_alarm_long_after_the_switch_brings_nobody_back(fleet: Fleet, count: Count) -> None:
    fleet.switch("new")
    fleet.clock.now_s += 61
    fleet.sync()
    fleet.sync({"new": count(200, faults=100)})
    fleet.sync()
    assert fleet.answering == {"new"}


def test_the_champion_before_takes_over_without_a_trial(fleet: Fleet) -> None:
    fleet.switch("new")
    fleet.trial = None
    fleet.see("old", new="rolled back by hand")
    fleet.sync()
    fleet.sync()
    assert fleet.answering == {"old"}


def test_a_challenger_answers_beside_the_champion_when_all_hold_it(fleet: Fleet) -> None:
    fleet.see("old", "new")
    orders = fleet.sync()["ranker"]
    assert (orders.wanted, orders.challenger) == (("old", "new"), None)
    fleet.open("new")
    fleet.sync()
    assert {orders.challenger for orders in fleet.sync().values()} == {"new"}
    assert fleet.answering == {"old"}
    fleet.see("old")
    assert fleet.sync()["ranker"].challenger is None


@pytest.mark.parametrize(
    ("reason", "own"),
    [
        ("missed a stage", {"faults": 20}),
        ("ms in the stages", {"ms": 40.0}),
        ("predictions of click", {"mean": 0.7}),
    ],
)
def test_an_alarm_stops_the_challenger(
    fleet: Fleet, count: Count, reason: str, own: dict[str, float]
) -> None:
    fleet.see("old", "new")
    fleet.open("new")
    fleet.sync({"old": count(1_000, mean=0.9, seed=1)})
    fleet.sync({"old": count(150, seed=2), "new": count(50, seed=3, **own)})
    assert fleet.sync()["ranker"].challenger == "new", "too few answers"
    fleet.sync({"new": count(100, seed=4, **own)})
    orders = fleet.sync()["ranker"]
    assert (orders.champion, orders.wanted, orders.challenger) == ("old", ("old",), None)
    assert reason in fleet.coordinator.refusals["new"]
    assert reason in orders.status["refused"]["new"]


def test_how_the_challenger_does_is_told(fleet: Fleet, count: Count) -> None:
    assert fleet.sync()["ranker"].status["challenger"] is None
    fleet.see("old", "new")
    fleet.open("new")
    fleet.sync()
    fleet.sync({"old": count(50, ms=20.0), "new": count(50, faults=10)})
    told = fleet.sync()["ranker"].status["challenger"]
    assert (told["bundle"], told["mode"], told["answers"]) == ("new", "shadow", 50)
    assert (told["fault_share"], told["mean_ms"]) == (0.2, [10.0, 20.0])
    assert told["p99_ms"] == pytest.approx([10.0, 20.0], rel=0.15)
    assert 0 <= told["drift"]["click"] < 0.5


def test_a_promoted_challenger_becomes_the_champion(fleet: Fleet) -> None:
    fleet.see("old", "new")
    fleet.open("new")
    fleet.sync()
    fleet.see("new", "new")
    orders = fleet.settle()["ranker"]
    assert fleet.answering == {"new"}
    assert orders.challenger is None


def test_a_bundle_that_cannot_be_opened_stops_and_is_tried_again_later(fleet: Fleet) -> None:
    fleet.see("new")
    fleet.sync()
    orders = fleet.sync(new="no room")["ranker"]
    assert orders.wanted == ("old",)
    assert orders.status["refused"] == {"new": "no room"}
    fleet.clock.now_s += RETRY_S + 1
    fleet.sync()
    assert fleet.sync()["ranker"].wanted == ("old", "new")


def test_a_damaged_or_refused_bundle_is_never_opened(fleet: Fleet) -> None:
    fleet.coordinator.observe(Sighting(Standing("new"), {"new": "truncated bundle"}))
    assert fleet.sync()["ranker"].wanted == ("old",)
    fleet.see("new", new="too slow")
    assert fleet.sync()["ranker"].wanted == ("old",)


def test_of_two_champions_in_quick_succession_the_last_takes_over(fleet: Fleet) -> None:
    fleet.see("second")
    fleet.sync()
    fleet.open("second", "ranker")
    fleet.see("third")
    assert fleet.sync()["ranker"].wanted == ("old", "third")
    fleet.open("third")
    fleet.settle()
    assert fleet.answering == {"third"}


def test_a_rollback_during_the_preparation_ends_it(fleet: Fleet) -> None:
    fleet.see("new")
    fleet.open("new", "gateway-1")
    fleet.sync()
    fleet.see("old")
    fleet.open("new", "gateway-2", "ranker")
    assert {orders.champion for orders in fleet.sync().values()} == {"old"}


def test_a_dead_replica_is_not_waited_for(fleet: Fleet) -> None:
    fleet.see("new")
    fleet.open("new", "gateway-1", "gateway-2")
    fleet.sync()
    del fleet.held["ranker"]
    fleet.clock.now_s += LEASE_S + 1
    fleet.settle()
    assert fleet.answering == {"new"}


def test_a_replica_that_starts_during_the_preparation_is_waited_for(fleet: Fleet) -> None:
    fleet.see("new")
    fleet.held["ranker-2"] = ()
    fleet.sync()
    fleet.open("new", "gateway-1", "gateway-2", "ranker")
    fleet.sync()
    assert fleet.sync()["gateway-1"].champion == "old"
    fleet.held["ranker-2"] = ("old", "new")
    fleet.settle()
    assert fleet.answering == {"new"}


def test_an_unreadable_registry_changes_nothing(fleet: Fleet) -> None:
    fleet.coordinator.lose_sight("connection refused")
    orders = fleet.sync()["ranker"]
    assert orders.champion == "old"
    assert orders.status["registry"] == "connection refused"
    fleet.see("new")
    assert fleet.sync()["ranker"].status["registry"] == "ok"


def test_another_coordinator_goes_on_where_the_last_one_died(fleet: Fleet) -> None:
    fleet.switch("new")
    fleet.coordinator = Coordinator(CONFIG, "old", clock=fleet.clock)
    report = Report("ranker", "ranker", ("old", "new"))
    assert fleet.coordinator.sync(report) is None, "no gateway has told yet what it answers from"
    fleet.coordinator.sync(Report("gateway-1", "gateway", ("old", "new"), champion="new"))
    fleet.clock.now_s += SETTLE_S
    orders = fleet.coordinator.sync(report)
    assert orders is not None
    assert orders.champion == "new"


def test_every_replica_hears_how_many_requests_come_to_all_gateways(fleet: Fleet) -> None:
    for name, rate in (("gateway-1", 40.0), ("gateway-2", 60.0)):
        fleet.coordinator.sync(Report(name, "gateway", ("old",), champion="old", rate=rate))
    ranker = Report("ranker", "ranker", ("old",))
    orders = fleet.coordinator.sync(ranker)
    assert orders is not None
    assert orders.rate == 100.0


def test_requests_of_a_gateway_that_has_died_are_not_counted_beside_those_who_got_them(
    fleet: Fleet,
) -> None:
    fleet.coordinator.sync(Report("gateway-1", "gateway", ("old",), champion="old", rate=50.0))
    fleet.clock.now_s += RATE_LEASE_S + 0.1
    survivor = Report("gateway-2", "gateway", ("old",), champion="old", rate=100.0)
    orders = fleet.coordinator.sync(survivor)
    assert orders is not None
    assert orders.rate == 100.0


def test_without_gateways_the_deployed_bundle_is_the_champion() -> None:
    clock = Clock()
    coordinator = Coordinator(CONFIG, "old", clock=clock)
    clock.now_s += SETTLE_S
    orders = coordinator.sync(Report("gateway-1", "gateway"))
    assert orders is not None
    assert orders.champion == "old"
