"""A replica opens what is wanted, closes the rest, and outlives what cannot be opened."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from cluster.errors import InputError
from serve.versions.lineup import Lineup
from serve.versions.orders import Orders


def open_bundle(bundle_id: str) -> str:
    if bundle_id == "damaged":
        raise InputError("item_vectors.npy: truncated bundle")
    if bundle_id == "odd":
        raise KeyError("user_tower")
    return f"opened {bundle_id}"


def followed(*steps: Orders, in_use: tuple[str, ...] = ()) -> Lineup[str]:
    """Return a lineup after it has followed one order after the other."""

    async def follow() -> Lineup[str]:
        lineup = Lineup("ranker", open_bundle)
        for orders in steps:
            lineup.follow(orders, in_use)
            await lineup.opened()
        return lineup

    return asyncio.run(follow())


def test_what_is_wanted_is_opened_and_reported() -> None:
    lineup = followed(Orders("a", ("a", "b")))
    assert lineup.held == {"a": "opened a", "b": "opened b"}
    report = lineup.report(champion="a")
    assert (report.deployment, report.held, report.champion) == ("ranker", ("a", "b"), "a")


def test_what_is_neither_wanted_nor_kept_nor_in_use_is_closed() -> None:
    lineup = followed(
        Orders("a", ("a", "b", "c", "d")), Orders("b", ("b",), kept=("c",)), in_use=("d",)
    )
    assert set(lineup.held) == {"b", "c", "d"}


def test_what_is_only_kept_is_not_opened() -> None:
    assert set(followed(Orders("a", ("a",), kept=("b",))).held) == {"a"}


@pytest.mark.parametrize(
    ("bundle_id", "reason"),
    [("damaged", "item_vectors.npy: truncated bundle"), ("odd", "KeyError: 'user_tower'")],
)
def test_what_cannot_be_opened_is_said_and_stops_nothing(bundle_id: str, reason: str) -> None:
    lineup = followed(Orders("a", (bundle_id, "a")))
    assert set(lineup.held) == {"a"}
    assert lineup.report().failed == {bundle_id: reason}


def test_a_failure_is_forgotten_when_the_bundle_is_not_wanted_any_more() -> None:
    assert not followed(Orders("a", ("a", "damaged")), Orders("a", ("a",))).failed


def test_orders_that_come_during_an_opening_are_followed_after_it() -> None:
    begun, may_go_on = threading.Event(), threading.Event()

    def slowly(bundle_id: str) -> str:
        begun.set()
        assert may_go_on.wait(10)
        return open_bundle(bundle_id)

    async def follow(open_slowly: Callable[[str], str]) -> set[str]:
        lineup = Lineup("ranker", open_slowly)
        lineup.follow(Orders("a", ("a",)))
        await asyncio.to_thread(begun.wait, 10)
        lineup.follow(Orders("a", ("a", "b")))
        assert not lineup.held
        may_go_on.set()
        await lineup.opened()
        return set(lineup.held)

    assert asyncio.run(follow(slowly)) == {"a", "b"}
