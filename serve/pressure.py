"""How hard pressed a replica is: how long a request that comes now would take."""

import asyncio
import math

SMOOTHING = 0.1
"""Weight of one more request in the mean cost."""
MEMORY_S = 5.0
"""Costs that were learned longer ago than this give way to the next request's."""
EASING_S = 20.0
"""What made a level dear may be over, as when a stage is back: so long ago, a third is believed."""
RATE_WINDOW_S = 0.5
TICK_S = 0.05


class Pressure:
    """Predicts latency from what is in flight and what requests have cost of late.

    In a queue that is served in order, a request's latency is the time between completions,
    times the requests that were there when it came. That time, its cost, is learned by level of
    quality; waiting for the latencies themselves to rise would notice a spike too late.

    Args:
        num_levels: levels of quality, from 0, the full one.
        parallelism: requests that are worked on at a time, as far as this process knows.
    """

    def __init__(self, num_levels: int, *, parallelism: int = 1) -> None:
        self.parallelism = parallelism
        self.in_flight = 0
        self._costs_s: list[float | None] = [None] * num_levels
        self._learned_s = [-math.inf] * num_levels
        self._rate = 0.0
        self._arrived_s = -math.inf

    def arrive(self, now_s: float) -> None:
        """Count a request, whatever will be answered."""
        self._rate = self.rate(now_s) + 1 / RATE_WINDOW_S
        self._arrived_s = now_s

    def rate(self, now_s: float) -> float:
        """Return arrivals per second of late."""
        return self._rate * math.exp((self._arrived_s - now_s) / RATE_WINDOW_S)

    def enter(self) -> int:
        """Begin work on a request; return how many are in flight with it."""
        self.in_flight += 1
        return self.in_flight

    def leave(self) -> None:
        """End work on a request."""
        self.in_flight -= 1

    def learn(self, level: int, now_s: float, *, latency_s: float, num_in_flight: int) -> None:
        """Learn what a request cost.

        Args:
            level: its quality.
            now_s: the instant at which it left.
            latency_s: from its entering to its leaving.
            num_in_flight: what `enter` returned for it.
        """
        cost_s = latency_s / max(num_in_flight, self.parallelism)
        known_s = self._costs_s[level] or 0.0
        kept = (1 - SMOOTHING) * math.exp((self._learned_s[level] - now_s) / MEMORY_S)
        self._costs_s[level] = kept * known_s + (1 - kept) * cost_s
        self._learned_s[level] = now_s

    def cost_s(self, level: int) -> float:
        """Return the cost of a request.

        What is not known costs as much as the next better, or else the next worse.
        """
        by_likeness = (*range(level, -1, -1), *range(level + 1, len(self._costs_s)))
        known = (self._costs_s[near] for near in by_likeness)
        return next((cost_s for cost_s in known if cost_s is not None), 0.0)

    def predicted_s(self, level: int) -> float:
        """Return how long a request would take that came now and was answered at a level."""
        return self.cost_s(level) * max(self.in_flight + 1, self.parallelism)

    def waiting_s(self, level: int) -> float:
        """Return how much of that would pass before it is worked on."""
        return self.cost_s(level) * max(self.in_flight + 1 - self.parallelism, 0)

    def utilization(self, level: int, now_s: float) -> float:
        """Return the share of this replica that all arrivals would take up at a level."""
        return self.rate(now_s) * self.cost_s(level)

    def eased_utilization(self, level: int, now_s: float) -> float:
        """Return `utilization`, believed less the longer ago the level's cost was learned."""
        age_s = now_s - self._learned_s[self._known(level)]
        return self.utilization(level, now_s) * math.exp(-age_s / EASING_S)

    def _known(self, level: int) -> int:
        """Return the next better level whose cost is known."""
        better = range(level, -1, -1)
        return next((one for one in better if self._costs_s[one] is not None), 0)


class LoopLag:
    """How late an event loop runs its callbacks, which is how long it lets new requests wait."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due_s = math.inf
        self._last_s = 0.0

    def start(self) -> None:
        """Watch the running loop from here on; once is enough."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._schedule(loop)

    def seconds(self) -> float:
        """Return the lag seen last, or the present one where that is longer."""
        if self._loop is None:
            return 0.0
        return max(self._last_s, self._loop.time() - self._due_s)

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = loop.time() + TICK_S
        loop.call_at(self._due_s, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._last_s = max(loop.time() - self._due_s, 0.0)
        self._schedule(loop)
