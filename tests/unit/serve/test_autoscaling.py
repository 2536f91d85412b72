"""The autoscaling policy on simulated traffic: quick up, slow down, a spare, no flapping."""

import ast
import inspect
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serve.autoscaling import (
    DEMAND,
    OFFERED,
    PRESSURE,
    Limits,
    Memory,
    Sample,
    SpikePolicy,
    decide,
    sample_of,
)
from serve.scaling import DeploymentConfig

TICK_S = 0.1
COST_S = 0.02
START_S = 5.0
LIMITS = Limits(down_delay_s=30.0)


@dataclass
class Cluster:
    """Replicas that take five seconds to start, and a queue in front of them."""

    limits: Limits = LIMITS
    highest: int = 50
    has_stats: bool = True
    target: int = 1
    running: int = 1
    queue: float = 0.0
    smoothed: float = 0.0
    """Arrivals per second as replicas tell them: over the last half second."""
    memory: Memory | None = None
    starting: list[float] = field(default_factory=list)

    def run(self, rate: Callable[[float], float], seconds: float) -> list[int]:
        """Return the replicas asked for at each tick of a trace of arrivals per second."""
        targets = []
        for tick in range(round(seconds / TICK_S)):
            now_s = tick * TICK_S
            self._move(now_s, rate(now_s))
            before, self.target = self.target, self._decision(now_s, rate(now_s))
            self.starting += [now_s + START_S] * max(self.target - before, 0)
            self.running = min(self.running, self.target)
            targets.append(self.target)
        return targets

    def _move(self, now_s: float, rate: float) -> None:
        ready = [at_s for at_s in self.starting if at_s <= now_s]
        self.starting = [at_s for at_s in self.starting if at_s > now_s]
        self.running = min(self.running + len(ready), self.target)
        self.queue = max(self.queue + (rate - self.running / COST_S) * TICK_S, 0.0)

    def _decision(self, now_s: float, rate: float) -> int:
        self.smoothed += (rate - self.smoothed) * (1 - math.exp(-TICK_S / 0.5))
        latency_s = COST_S + self.queue * COST_S / self.running
        sample = Sample(
            now_s,
            self.target,
            self.running,
            1,
            self.highest,
            ongoing=self.queue + min(rate * COST_S, self.running),
            demand=self.smoothed * COST_S if self.has_stats else None,
            pressure=latency_s / 0.2 if self.has_stats else None,
        )
        decided, self.memory = decide(self.limits, sample, self.memory)
        return decided


def reversals(targets: list[int]) -> int:
    """Count how often the direction turns."""
    moves = np.sign(np.diff(targets))
    moves = moves[moves != 0]
    return int(np.count_nonzero(np.diff(moves)))


def spike(now_s: float) -> float:
    """Twenty requests a second, ten times as many from 20 to 80 seconds."""
    return 200.0 if 20 <= now_s < 80 else 20.0


@pytest.mark.parametrize("has_stats", [True, False])
def test_a_spike_is_met_within_two_seconds(has_stats: bool) -> None:
    targets = Cluster(has_stats=has_stats).run(spike, 200)
    at = [targets[round(s / TICK_S) - 1] for s in (20, 22, 79, 199)]
    fully_busy = 200 * COST_S
    assert at[0] <= 2
    assert at[1] >= fully_busy, "enough replicas are on their way"
    assert at[2] >= fully_busy
    assert at[3] == at[0]
    assert reversals(targets) == 1


def test_with_what_replicas_tell_the_first_step_is_the_right_one() -> None:
    targets = Cluster().run(spike, 79)
    needed = math.ceil(200 * COST_S / LIMITS.target_utilization) + LIMITS.spare
    assert targets[round(21.5 / TICK_S)] in (needed - 1, needed)
    assert max(targets) <= needed + 1


def test_down_goes_slowly_and_only_after_the_delay() -> None:
    targets = Cluster().run(spike, 200)
    during = targets[round(79 / TICK_S)]
    assert set(targets[round(80 / TICK_S) : round(109 / TICK_S)]) == {during}
    falling = targets[round(109 / TICK_S) :]
    assert falling == sorted(falling, reverse=True)
    steps = -np.diff(falling)
    assert steps.max() <= max(1, during // 4)
    falls = np.flatnonzero(steps) * TICK_S
    assert np.all(np.diff(falls) >= 5.0 - 1e-6)


def test_noise_moves_nothing_once_it_is_known() -> None:
    random = np.random.default_rng(3)
    noise = random.poisson(50, 10_000) * 2.0
    targets = Cluster().run(lambda s: float(noise[round(s / TICK_S)]), 600)
    settled = targets[round(60 / TICK_S) :]
    assert len(set(settled)) <= 2
    assert reversals(settled) == 0


def test_a_wave_that_is_shorter_than_the_delay_is_ridden_out() -> None:
    targets = Cluster().run(lambda s: 100 + 80 * math.sin(2 * math.pi * s / 25), 300)
    assert reversals(targets[round(30 / TICK_S) :]) == 0


def test_a_long_wave_is_followed_without_flapping() -> None:
    wave = Cluster().run(lambda s: 200 - 150 * math.cos(2 * math.pi * s / 600), 1200)
    assert reversals(wave) == 3, "up, down, up, down"
    assert max(wave) >= 350 * COST_S
    assert min(wave[len(wave) // 2 :]) < max(wave) / 2


def test_a_blip_asks_for_nothing() -> None:
    targets = Cluster().run(lambda s: 200.0 if 20 <= s < 20.1 else 20.0, 30)
    assert len(set(targets[100:])) == 1


def test_a_warm_spare_is_kept_and_bounds_hold() -> None:
    assert Cluster().run(lambda _: 1.0, 10)[-1] == 2
    assert Cluster(Limits(spare=0)).run(lambda _: 1.0, 10)[-1] == 1
    assert max(Cluster(highest=3).run(spike, 60)) == 3


def test_pressure_asks_for_one_more_after_those_that_were_asked_for_have_come() -> None:
    memory, limits = None, Limits()
    asked = []
    for tick in range(40):
        target = 2 if tick < 20 else 3
        sample = Sample(tick * TICK_S, target, target, 1, 9, 0.5, 0.5, pressure=1.5)
        decided, memory = decide(limits, sample, memory)
        asked.append(decided)
    assert (max(asked[:20]), max(asked[20:])) == (3, 4)
    waiting = Sample(5.0, 3, 2, 1, 9, 0.5, 0.5, pressure=1.5)
    assert decide(limits, waiting, memory)[0] == 3


def test_after_a_restart_nothing_is_given_up_before_the_delay_has_passed() -> None:
    memory = None
    for tick in range(290):
        sample = Sample(tick * TICK_S, 8, 8, 1, 9, ongoing=0.0)
        decided, memory = decide(LIMITS, sample, memory)
        assert decided == 8


def series(*values: float) -> list[Any]:
    """Return values as Ray Serve keeps what a replica tells."""
    return [SimpleNamespace(timestamp=0.0, value=value) for value in values]


def context_of(**told: dict[str, list[Any]]) -> SimpleNamespace:
    """Return Ray Serve's context of a deployment whose replicas tell something."""
    return SimpleNamespace(
        policy_state={},
        raw_metrics=told,
        current_time=100.0,
        target_num_replicas=2,
        current_num_replicas=2,
        capacity_adjusted_min_replicas=1,
        capacity_adjusted_max_replicas=9,
        total_num_requests=3.0,
    )


@pytest.mark.parametrize(
    ("offered", "demand"),
    [((0.0, 0.0), 1.5), ((1.0, 1.2), 1.5), ((4.0, 5.0), 4.5), ((4.0, 0.0), 4.0)],
    ids=["unknown", "all called for", "left out", "one has just started"],
)
def test_demand_is_that_of_all_requests_where_a_stage_is_not_asked(
    offered: tuple[float, float], demand: float
) -> None:
    demands = {"a": series(9.0, 1.0), "b": series(0.5)}
    estimates = {name: series(value) for name, value in zip("ab", offered, strict=True)}
    assert sample_of(context_of(**{DEMAND: demands, OFFERED: estimates})).demand == demand


def test_the_policy_reads_ray_serve_s_context() -> None:
    policy = SpikePolicy(target_utilization=0.5, spare=0, up_delay_s=0.0)
    demands = {"a": series(9.0, 1.0), "b": series(0.5)}
    context = context_of(**{DEMAND: demands, PRESSURE: {"a": series(0.2), "b": []}})
    target, state = policy(context)
    assert target == 3
    context.policy_state, context.raw_metrics = state, {}
    assert policy(context)[0] == 2


def test_the_policy_is_made_with_a_deployment_s_limits() -> None:
    size = DeploymentConfig(max_replicas=4, spare_replicas=2, target_utilization=0.5)
    assert SpikePolicy(**asdict(size.limits)).limits == Limits(spare=2, target_utilization=0.5)
    assert DeploymentConfig().limits == Limits()


def test_the_policy_needs_nothing_where_ray_s_controller_runs() -> None:
    source = inspect.getsource(inspect.getmodule(SpikePolicy) or SpikePolicy)
    nodes = list(ast.walk(ast.parse(source)))
    modules = [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    modules += [a.name for node in nodes if isinstance(node, ast.Import) for a in node.names]
    assert "dataclasses" in modules
    assert {str(name).partition(".")[0] for name in modules} <= sys.stdlib_module_names
