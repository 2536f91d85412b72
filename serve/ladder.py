"""`[serve.overload]`: the ladder on which quality gives way before availability does."""

import math
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, field_validator, model_validator

from cluster.config import Duration, Section
from serve.plan import Plan

Step = Literal["fewer_candidates", "no_diversity", "no_ranker", "popular"]

RISE_INTERVAL_S = 0.25
"""A step shows what it brings before the next one is taken."""
PRESSURE_WINDOW_S = 0.25
COMFORTABLE = 0.7
"""Utilization at which a better level is expected to hold."""


class OverloadConfig(Section):
    """`[serve.overload]`: what gives way when requests come faster than they can be answered."""

    objective: Duration | None = Field(default=None, ge=1)
    """The latency that answers are to keep; None takes `serve.budget`."""
    steps: tuple[Step, ...] = ("fewer_candidates", "no_diversity", "no_ranker", "popular")
    """What gives way, in this order. "popular", which must be last, computes nothing and takes
    the requests that would be late otherwise; without it they are refused."""
    candidates: int = Field(default=150, ge=1)
    """Candidates that are ranked where there are to be fewer."""
    rise_at: float = Field(default=0.5, gt=0, le=1)
    """The next step is taken when the expected latency exceeds this share of the objective."""
    fall_at: float = Field(default=0.25, gt=0, le=1)
    """A step is taken back when it stays below this share."""
    limit: float = Field(default=0.75, gt=0, le=1)
    """A request that is expected to take longer than this share overflows."""
    hold: Duration = Field(default=1_000, ge=0)
    """How long before a step is taken back that the rate of arrivals will bear."""
    max_hold: Duration = Field(default=10_000, ge=0)
    """How long before one is taken back that it may not bear."""

    @field_validator("steps")
    @classmethod
    def _popular_is_last(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        if len(set(steps)) < len(steps):
            raise ValueError(f"{', '.join(steps)}: a step is named twice")
        if "popular" in steps[:-1]:
            raise ValueError(f'{", ".join(steps)}: "popular" must come last')
        return steps

    @model_validator(mode="after")
    def _falls_below_rise(self) -> "OverloadConfig":
        if not self.fall_at < self.rise_at <= self.limit:
            raise ValueError(
                f"fall_at {self.fall_at}, rise_at {self.rise_at}, limit {self.limit}: must rise"
            )
        return self

    @property
    def savings(self) -> tuple[Step, ...]:
        """The steps that make answers cheaper, which levels count."""
        return tuple(step for step in self.steps if step != "popular")

    @property
    def has_popular(self) -> bool:
        """Whether what overflows is answered with popular items."""
        return "popular" in self.steps

    def plan(self, level: int, deadline_ms: float) -> Plan:
        """Return how a request is answered at a level: with the first so many savings."""
        taken = self.savings[:level]
        return Plan(
            deadline_ms=deadline_ms,
            max_candidates=self.candidates if "fewer_candidates" in taken else None,
            is_ranked="no_ranker" not in taken,
            is_diverse="no_diversity" not in taken,
        )

    def reason(self, level: int) -> str | None:
        """Return what an answer says of its level; None of the full quality."""
        return told(self.savings[level - 1]) if level else None


def told(step: Step) -> str:
    """Return what an answer says that a step has changed."""
    return f"overload: {step.replace('_', ' ')}"


@dataclass
class Ladder:
    """The level of quality, with hysteresis: it rises step by step and falls when that will hold.

    Args:
        config: the steps and the thresholds.
    """

    config: OverloadConfig
    level: int = 0
    pressure: float = 0.0
    """Expected latency over the objective, smoothed."""
    _seen_s: float = -math.inf
    _rose_s: float = -math.inf
    _calm_since_s: float = math.inf

    def observe(self, pressure: float, now_s: float, *, utilization_above: float) -> int:
        """Return the level for now.

        Args:
            pressure: expected latency over the objective.
            now_s: the instant, never falling.
            utilization_above: share of the replica that all arrivals would take one level better.
        """
        weight = 1 - math.exp((self._seen_s - now_s) / PRESSURE_WINDOW_S)
        self.pressure += weight * (pressure - self.pressure)
        self._seen_s = now_s
        if self.pressure > self.config.fall_at:
            self._calm_since_s = math.inf
        elif self._calm_since_s == math.inf:
            self._calm_since_s = now_s
        if self._is_to_rise(now_s):
            self.level += 1
            self._rose_s = now_s
        elif self._is_to_fall(now_s, utilization_above):
            self.level -= 1
            self._calm_since_s = now_s
        return self.level

    def _is_to_rise(self, now_s: float) -> bool:
        has_settled = now_s - self._rose_s >= RISE_INTERVAL_S
        is_pressed = self.pressure > self.config.rise_at
        return is_pressed and has_settled and self.level < len(self.config.savings)

    def _is_to_fall(self, now_s: float, utilization_above: float) -> bool:
        will_hold = utilization_above < COMFORTABLE
        hold_ms = self.config.hold if will_hold else self.config.max_hold
        return self.level > 0 and now_s - self._calm_since_s >= hold_ms / 1000
