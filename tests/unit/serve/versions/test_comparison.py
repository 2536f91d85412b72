"""A gateway counts answers by bundle and has bundles answer that are not shown."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from serve.config import ServeSettings
from serve.messages import Answer, Request, RequestError
from serve.metrics import Metrics
from serve.versions.comparison import Comparison
from serve.versions.orders import Orders
from serve.versions.unseen import BUSY

Make = Callable[..., Answer]
REQUEST = Request(user_id=7)


class Unseen:
    """Answers as the test says, once it may."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def answer(self, request: Request, request_id: str) -> Answer:
        """Give the next answer."""
        self.asked.append(request)
        await self.may_answer.wait()
        given = self.answers.pop(0)
        if isinstance(given, Exception):
            raise given
        return given


class Demand:
    """The share of a replica that is in use."""

    def __init__(self, *shares: float) -> None:
        self.shares = list(shares)

    def __call__(self) -> float:
        """Return the next share; the last one stays."""
        return self.shares.pop(0) if len(self.shares) > 1 else self.shares[0]


def comparison_of(*demand: float, **rollout: Any) -> Comparison:
    settings = ServeSettings.model_validate(
        {
            "recommender": "toy",
            "dataset": {"format": "synthetic"},
            "tasks": [{"name": "click", "column": "click"}],
            "serve": {"rollout": {"sampling": 1.0, **rollout}},
        }
    )
    return Comparison(settings, Demand(*(demand or (0.0,))), Metrics())


def outcomes(comparison: Comparison) -> dict[str, float]:
    """Return what was counted of the challenger."""
    lines = comparison.metrics.render().decode().splitlines()
    counted = [line for line in lines if line.startswith("millrace_challenger_requests_total")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in counted}


def test_answers_are_told_once_by_bundle_and_kept_until_they_are_heard(make: Make) -> None:
    comparison = comparison_of()
    comparison.note(REQUEST, make(bundle="a"))
    told, _ = comparison.report()
    assert told["a"].answers == 1
    comparison.note(REQUEST, make(bundle="a"))
    told, _ = comparison.report()
    assert told["a"].answers == 2, "nobody has heard of the first"
    comparison.follow(Orders("a", ("a",)), {})
    assert comparison.report()[0] == {}


def test_a_bundle_on_trial_answers_the_latest_requests(make: Make) -> None:
    async def run() -> None:
        comparison = comparison_of(sample=2)
        for user_id in (1, 2, 3):
            comparison.note(Request(user_id=user_id), make([0.5, 0.5], bundle="a"))
        comparison.note(Request(user_id=4), make(bundle="a", degraded="rank late"))
        unseen: Any = Unseen(make([0.5]), RequestError(("filters", "x"), "no such attribute"))
        comparison.follow(Orders("a", ("a", "b"), on_trial="b"), {"b": unseen})
        assert comparison.report()[1] == {}, "it has not ended"
        while not (trials := comparison.report()[1]):
            await asyncio.sleep(0)
        assert [request.user_id for request in unseen.asked] == [2, 3]
        trial = trials["b"]
        assert (trial.answers, trial.faults, trial.overlap) == (2, 1, 0.5)
        comparison.follow(Orders("b", ("b",)), {})
        assert comparison.report()[1] == {}

    asyncio.run(run())


def test_a_trial_waits_for_room(make: Make) -> None:
    async def run() -> None:
        comparison = comparison_of(1.0, 1.0, 0.0)
        comparison.note(REQUEST, make(bundle="a"))
        unseen: Any = Unseen(make(bundle="b"))
        comparison.follow(Orders("a", ("a", "b"), on_trial="b"), {"b": unseen})
        await asyncio.sleep(0)
        assert not unseen.asked
        while not (trials := comparison.report()[1]):
            await asyncio.sleep(0.01)
        assert trials["b"].answers == 1

    asyncio.run(run())


def test_a_bundle_that_raises_whatever_it_likes_harms_nobody(make: Make) -> None:
    async def run() -> None:
        comparison = comparison_of()
        comparison.note(REQUEST, make(bundle="a"))
        unseen: Any = Unseen(ZeroDivisionError())
        comparison.follow(Orders("a", ("a", "b"), on_trial="b"), {"b": unseen})
        while not (trials := comparison.report()[1]):
            await asyncio.sleep(0)
        assert trials["b"].faults == 1

    asyncio.run(run())


def test_a_shadow_answers_one_request_at_a_time(make: Make) -> None:
    async def run() -> None:
        comparison = comparison_of()
        unseen: Any = Unseen(make([0.5], bundle="b"))
        unseen.may_answer.clear()
        comparison.follow(Orders("a", ("a", "b"), challenger="b"), {"b": unseen})
        for _ in range(3):
            comparison.note(REQUEST, make([0.5, 0.5], bundle="a"))
            await asyncio.sleep(0)
        unseen.may_answer.set()
        while "b" not in (told := comparison.report()[0]) or not told["b"].answers:
            await asyncio.sleep(0)
        assert (told["a"].answers, told["b"].answers, told["b"].overlap) == (3, 1, 0.5)
        assert outcomes(comparison) == {"unseen": 1.0, "no room": 2.0}

    asyncio.run(run())


@pytest.mark.parametrize("share", [0.2, 0.6])
def test_a_shadow_answers_the_sampled_share(make: Make, share: float) -> None:
    async def run() -> None:
        comparison = comparison_of(sampling=share)
        unseen: Any = Unseen(*(make(bundle="b") for _ in range(400)))
        comparison.follow(Orders("a", ("a", "b"), challenger="b"), {"b": unseen})
        for _ in range(400):
            comparison.note(REQUEST, make(bundle="a"))
            for _ in range(3):
                await asyncio.sleep(0)
        assert share - 0.1 < len(unseen.asked) / 400 < share + 0.1

    asyncio.run(run())


def test_a_shadow_is_not_compared_with_what_came_from_a_cache(make: Make) -> None:
    async def run() -> None:
        comparison = comparison_of()
        unseen: Any = Unseen()
        comparison.follow(Orders("a", ("a", "b"), challenger="b"), {"b": unseen})
        cached = make(bundle="a").model_copy(update={"timings_ms": {"cache": 0.1, "total": 0.1}})
        comparison.note(REQUEST, cached)
        assert outcomes(comparison) == {}

    asyncio.run(run())


def test_a_busy_replica_has_no_room_for_a_shadow(make: Make) -> None:
    async def run() -> None:
        comparison = comparison_of(BUSY + 0.1)
        unseen: Any = Unseen()
        comparison.follow(Orders("a", ("a", "b"), challenger="b"), {"b": unseen})
        comparison.note(REQUEST, make(bundle="a"))
        assert outcomes(comparison) == {"no room": 1.0}

    asyncio.run(run())


def test_a_canary_answers_its_users_only_while_it_is_the_challenger(make: Make) -> None:
    comparison = comparison_of(mode="canary", share=0.5)
    assert comparison.canary(7) is None
    comparison.follow(Orders("a", ("a", "b"), challenger="b"), {})
    chosen = {comparison.canary(user_id) for user_id in range(50)}
    assert chosen == {"b", None}
    comparison.note(REQUEST, make(bundle="b"))
    assert outcomes(comparison) == {"shown": 1.0}
    comparison.follow(Orders("a", ("a",)), {})
    assert {comparison.canary(user_id) for user_id in range(50)} == {None}


def test_a_shadow_is_shown_to_nobody() -> None:
    comparison = comparison_of()
    comparison.follow(Orders("a", ("a", "b"), challenger="b"), {})
    assert {comparison.canary(user_id) for user_id in range(50)} == {None}


def test_how_like_the_champion_the_challenger_is_is_told() -> None:
    comparison = comparison_of()
    status = {"challenger": {"overlap": 0.8, "drift": {"click": 0.12}}}
    comparison.follow(Orders("a", ("a",), status=status), {})
    text = comparison.metrics.render().decode()
    assert "millrace_challenger_overlap 0.8" in text
    assert 'millrace_challenger_drift{task="click"} 0.12' in text
    comparison.follow(Orders("a", ("a",), status={"challenger": None}), {})
    assert "millrace_challenger_drift{" not in comparison.metrics.render().decode()
