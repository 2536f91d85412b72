"""Latency is foretold from what is in flight and what requests have cost."""

import asyncio
import math
import time

import pytest

from serve.pressure import EASING_S, LoopLag, Pressure


def test_nothing_is_foretold_before_anything_is_known() -> None:
    assert Pressure(2).predicted_s(1) == 0.0


def test_a_queue_s_latency_is_its_length_times_the_cost() -> None:
    pressure = Pressure(1)
    pressure.learn(0, 1.0, latency_s=0.050, num_in_flight=5)
    for _ in range(9):
        pressure.enter()
    assert pressure.predicted_s(0) == pytest.approx(0.1)
    pressure.leave()
    assert pressure.predicted_s(0) == pytest.approx(0.09)


def test_work_that_is_shared_costs_its_share() -> None:
    pressure = Pressure(1, parallelism=4)
    pressure.learn(0, 1.0, latency_s=0.020, num_in_flight=1)
    assert pressure.cost_s(0) == pytest.approx(0.005)
    assert pressure.predicted_s(0) == pytest.approx(0.020)


def test_only_what_comes_before_a_free_place_is_waited_for() -> None:
    pressure = Pressure(1, parallelism=2)
    pressure.learn(0, 1.0, latency_s=0.020, num_in_flight=1)
    waits = []
    for _ in range(4):
        waits.append(pressure.waiting_s(0))
        pressure.enter()
    assert waits == pytest.approx([0.0, 0.0, 0.010, 0.020])


def test_what_is_not_known_costs_as_much_as_the_nearest_level_that_is() -> None:
    pressure = Pressure(3)
    pressure.learn(1, 1.0, latency_s=0.010, num_in_flight=1)
    assert [pressure.cost_s(level) for level in range(3)] == pytest.approx([0.010] * 3)


def test_costs_are_learned_by_level_and_slowly() -> None:
    pressure = Pressure(3)
    pressure.learn(0, 1.0, latency_s=0.010, num_in_flight=1)
    pressure.learn(2, 1.0, latency_s=0.002, num_in_flight=1)
    assert pressure.cost_s(1) == pressure.cost_s(0) == pytest.approx(0.010)
    assert pressure.cost_s(2) == pytest.approx(0.002)
    pressure.learn(0, 1.0, latency_s=0.110, num_in_flight=1)
    assert pressure.cost_s(0) == pytest.approx(0.020)


def test_what_was_learned_long_ago_gives_way() -> None:
    pressure = Pressure(1)
    pressure.learn(0, 0.0, latency_s=9.0, num_in_flight=1)
    pressure.learn(0, 60.0, latency_s=0.01, num_in_flight=1)
    assert pressure.cost_s(0) == pytest.approx(0.01, rel=0.01)


def test_what_made_a_level_dear_is_believed_less_as_time_goes_by() -> None:
    pressure = Pressure(3)
    for number in range(200):
        pressure.arrive(0.01 * number)
    pressure.learn(0, 0.0, latency_s=0.5, num_in_flight=1)
    pressure.learn(1, 2.0, latency_s=0.25, num_in_flight=1)
    believed = [pressure.eased_utilization(1, now_s) for now_s in (2.0, 2.0 + EASING_S)]
    full = [pressure.utilization(1, now_s) for now_s in (2.0, 2.0 + EASING_S)]
    assert believed[0] == full[0] > 0
    assert believed[1] == pytest.approx(full[1] / math.e)
    unknown = pressure.eased_utilization(2, 2.0 + EASING_S)
    assert unknown == believed[1], "as dear as the next better level, and as old"


def test_the_rate_follows_arrivals_within_a_second_and_fades() -> None:
    pressure = Pressure(1)
    pressure.learn(0, 1.0, latency_s=0.004, num_in_flight=1)
    for number in range(200):
        pressure.arrive(number / 100)
    assert pressure.rate(2.0) == pytest.approx(100, rel=0.05)
    assert pressure.utilization(0, 2.0) == pytest.approx(0.4, rel=0.05)
    assert pressure.rate(5.0) < 1


def test_a_loop_that_is_held_up_is_late() -> None:
    async def hold_up() -> tuple[float, float]:
        lag = LoopLag()
        lag.start()
        lag.start()
        time.sleep(0.2)
        during = lag.seconds()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return during, lag.seconds()

    during, after = asyncio.run(hold_up())
    assert during >= 0.1
    assert after >= 0.1
    assert LoopLag().seconds() == 0.0
