"""Sums what the steps of an epoch report, without waiting for the device at every step."""

import math
import time
from typing import Any

import torch

SAMPLES = "samples"

Parts = dict[str, torch.Tensor]


class Meter:
    """Means of the loss and its parts, and the rate of samples, over one epoch's steps."""

    def __init__(self) -> None:
        self.steps = 0
        self.seconds = 0.0
        self.sums: dict[str, float] = {}
        self._pending: Parts = {}
        self._since = time.monotonic()

    def start(self) -> None:
        """Let the clock run from here: what was between two epochs does not count."""
        self._since = time.monotonic()

    def add(self, parts: Parts) -> None:
        """Count one step; `parts` are detached scalars, the device is not waited for."""
        self.steps += 1
        for name, value in parts.items():
            pending = self._pending.get(name)
            self._pending[name] = value if pending is None else pending + value

    def settle(self) -> None:
        """Fetch what was added from the device."""
        for name, value in self._pending.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value)
        self._pending = {}
        now = time.monotonic()
        self.seconds += now - self._since
        self._since = now

    @property
    def is_finite(self) -> bool:
        """Whether every sum is a number."""
        return all(math.isfinite(value) for value in self.sums.values())

    def means(self) -> dict[str, float]:
        """Return the means per step of what was settled, but for the number of samples."""
        steps = max(self.steps, 1)
        return {name: value / steps for name, value in self.sums.items() if name != SAMPLES}

    @property
    def rate(self) -> float:
        """Samples per second of one worker."""
        return self.sums.get(SAMPLES, 0.0) / max(self.seconds, 1e-9)

    def state_dict(self) -> dict[str, Any]:
        """Return the settled sums."""
        return {"steps": self.steps, "seconds": self.seconds, "sums": dict(self.sums)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.steps, self.seconds = state["steps"], state["seconds"]
        self.sums, self._pending = dict(state["sums"]), {}
