"""How many replicas a deployment should have: up at once on a spike, down slowly, never to and fro.

Ray Serve's controller runs this, pickled with its code: it knows nothing of ours and no Ray.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

GROWTH_WINDOW_S = 1.0
CALM_WINDOW_S = 5.0
"""Chance makes single seconds busier than others; replicas are not kept for those."""
PRESSED = 0.9
"""Expected latency over the objective at which one more replica is asked for, once those that
were asked for before have come."""
DEADBAND = 0.1
"""Replicas are given up when this much more load would fit without them."""
LARGEST_STEP_DOWN = 0.25
STEP_DOWN_S = 5.0
MEMORY = "memory"
DEMAND = "demand"
OFFERED = "offered"
PRESSURE = "pressure"


@dataclass(frozen=True)
class Limits:
    """What a deployment's replicas are to keep to.

    Attributes:
        target_ongoing: requests in flight that a replica should have.
        target_utilization: share of its capacity that a replica should use.
        spare: replicas beyond those needed, kept warm.
        up_delay_s: more are asked for when they were needed for so long.
        down_delay_s: fewer are kept when so many were not needed for so long.
    """

    target_ongoing: float = 4.0
    target_utilization: float = 0.6
    spare: int = 1
    up_delay_s: float = 1.0
    down_delay_s: float = 60.0


@dataclass(frozen=True)
class Sample:
    """One look at a deployment.

    Attributes:
        now_s: the instant.
        target: replicas asked for so far.
        running: replicas that answer.
        lowest, highest: bounds of what may be asked for.
        ongoing: requests in flight at all replicas, and waiting for one.
        demand: replicas that all arrivals would keep fully busy at full quality, those that were
            degraded or refused included; None where replicas do not tell.
        pressure: expected latency over the objective, of the worst replica.
    """

    now_s: float
    target: int
    running: int
    lowest: int
    highest: int
    ongoing: float
    demand: float | None = None
    pressure: float | None = None


@dataclass(frozen=True)
class Memory:
    """What is remembered from look to look."""

    began_s: float
    ongoing: tuple[tuple[float, float], ...] = ()
    """(instant, requests) within the last GROWTH_WINDOW_S."""
    seen_s: float = -math.inf
    smoothed: float = 0.0
    """Replicas needed, over the last CALM_WINDOW_S."""
    peaks: tuple[tuple[float, float], ...] = ()
    """(instant, smoothed) within the last `down_delay_s`, falling: the first is the peak."""
    short_since_s: float = math.inf
    """Since when more replicas have been needed than were asked for."""
    rose_s: float = -math.inf
    """When more were last asked for."""
    fell_s: float = -math.inf
    """When replicas were last given up."""


def decide(limits: Limits, sample: Sample, memory: Memory | None) -> tuple[int, Memory]:
    """Return how many replicas to ask for, and what to remember."""
    now_s = sample.now_s
    memory = _with_ongoing(memory or Memory(now_s), sample)
    needed = _needed(limits, sample, _growth(memory))
    memory = _with_need(memory, now_s, needed, limits.down_delay_s)
    wanted = _bounded(sample, math.ceil(needed) + limits.spare)
    if wanted <= sample.target:
        memory = replace(memory, short_since_s=math.inf)
        return _fallen(limits, sample, memory)
    since_s = min(memory.short_since_s, now_s)
    if now_s - since_s < limits.up_delay_s:
        return sample.target, replace(memory, short_since_s=since_s)
    return wanted, replace(memory, short_since_s=math.inf, rose_s=now_s)


class SpikePolicy:
    """The policy as Ray Serve calls it; its keywords are those of `Limits`."""

    def __init__(self, **limits: Any) -> None:
        self.limits = Limits(**limits)

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        """Decide for a deployment's `AutoscalingContext`."""
        state = context.policy_state or {}
        target, memory = decide(self.limits, sample_of(context), state.get(MEMORY))
        return target, {MEMORY: memory}


def sample_of(context: Any) -> Sample:
    """Read what Ray Serve knows of a deployment and what its replicas tell."""
    told = context.raw_metrics or {}
    demands, pressures = _latest(told.get(DEMAND)), _latest(told.get(PRESSURE))
    offered = _latest(told.get(OFFERED))
    return Sample(
        now_s=context.current_time,
        target=context.target_num_replicas,
        running=context.current_num_replicas,
        lowest=context.capacity_adjusted_min_replicas,
        highest=context.capacity_adjusted_max_replicas,
        ongoing=context.total_num_requests,
        demand=_demand(demands, offered) if demands else None,
        pressure=max(pressures) if pressures else None,
    )


def _latest(told: dict[Any, list[Any]] | None) -> list[float]:
    return [series[-1].value for series in (told or {}).values() if series]


def _demand(demands: Sequence[float], offered: Sequence[float]) -> float:
    """Return how many replicas all arrivals would keep fully busy.

    Args:
        demands: the share of each replica that its own arrivals would take.
        offered: how many replicas like itself those of the whole service would take, as far as
            each knows. A stage that answers leave out when the service is overloaded has no
            arrivals of its own; replicas that have not worked yet know no cost and say 0.
    """
    known = [estimate for estimate in offered if estimate > 0]
    return max(sum(demands), sum(known) / len(known) if known else 0.0)


def _needed(limits: Limits, sample: Sample, growth: float) -> float:
    """Return how many replicas the load keeps busy as they should be.

    A queue says little of how many replicas would have prevented it; where replicas tell their
    demand, it only says that there are too few.
    """
    is_queueing = sample.ongoing > limits.target_ongoing * sample.running and growth > 0
    if sample.demand is None:
        soon = sample.ongoing + growth * GROWTH_WINDOW_S if is_queueing else sample.ongoing
        return soon / limits.target_ongoing
    needed = sample.demand / limits.target_utilization
    is_strained = is_queueing or (sample.pressure or 0.0) > PRESSED
    if is_strained and sample.running >= sample.target:
        needed = max(needed, sample.target - limits.spare + 1.0)
    return needed


def _with_ongoing(memory: Memory, sample: Sample) -> Memory:
    kept = [seen for seen in memory.ongoing if sample.now_s - seen[0] <= GROWTH_WINDOW_S]
    return replace(memory, ongoing=(*kept, (sample.now_s, sample.ongoing)))


def _growth(memory: Memory) -> float:
    """Return by how many requests a second the queue grows."""
    (first_s, first), (last_s, last) = memory.ongoing[0], memory.ongoing[-1]
    return (last - first) / (last_s - first_s) if last_s > first_s else 0.0


def _with_need(memory: Memory, now_s: float, needed: float, window_s: float) -> Memory:
    """Remember the need for the window, dropping what a later one has exceeded."""
    weight = 1 - math.exp((memory.seen_s - now_s) / CALM_WINDOW_S)
    smoothed = memory.smoothed + weight * (needed - memory.smoothed)
    kept = [
        (at_s, peak) for at_s, peak in memory.peaks if now_s - at_s <= window_s and peak > smoothed
    ]
    return replace(memory, seen_s=now_s, smoothed=smoothed, peaks=(*kept, (now_s, smoothed)))


def _fallen(limits: Limits, sample: Sample, memory: Memory) -> tuple[int, Memory]:
    """Give up what was not needed for the whole window, a few replicas at a time."""
    now_s = sample.now_s
    peak = memory.peaks[0][1]
    wanted = _bounded(sample, math.ceil(peak * (1 + DEADBAND)) + limits.spare)
    is_early = now_s - max(memory.began_s, memory.rose_s) < limits.down_delay_s
    if wanted >= sample.target or is_early or now_s - memory.fell_s < STEP_DOWN_S:
        return max(sample.target, sample.lowest), memory
    step = max(int(sample.target * LARGEST_STEP_DOWN), 1)
    return max(wanted, sample.target - step), replace(memory, fell_s=now_s)


def _bounded(sample: Sample, num_replicas: int) -> int:
    return max(sample.lowest, min(sample.highest, num_replicas))
