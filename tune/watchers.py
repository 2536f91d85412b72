"""Who looks on while the trials run, and how Ray Tune lets them."""

import time
from typing import Any, Protocol

import ray.tune

from tune.outcome import Outcome, outcomes_of
from tune.runs import MlflowRuns
from tune.sweep import Sweep
from tune.table import LiveTable

INTERVAL_S = 0.5


class Watcher(Protocol):
    """Somebody who is shown every trial again and again."""

    def begin(self) -> None:
        """Get ready: the sweep starts, or goes on."""
        ...

    def see(self, outcomes: list[Outcome]) -> None:
        """Look at how the trials stand."""
        ...

    def end(self, outcomes: list[Outcome]) -> None:
        """Look for the last time."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what a sweep that goes on has to know."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        ...


class Watching(ray.tune.Callback):  # type: ignore[misc]  # Ray is not typed
    """Shows the watchers a sweep; picklable, because Ray Tune keeps its callbacks.

    Args:
        sweep: whose trials they are.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self.watchers: tuple[Watcher, ...] = (LiveTable(sweep), MlflowRuns(sweep))
        self._looked = 0.0

    def __reduce__(self) -> tuple[type["Watching"], tuple[Sweep]]:
        return Watching, (self.sweep,)

    def setup(self, **info: Any) -> None:
        """Let them get ready."""
        for watcher in self.watchers:
            watcher.begin()

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Let them look, at intervals: Ray Tune's steps are many a second."""
        if time.monotonic() - self._looked < INTERVAL_S:
            return
        self._looked = time.monotonic()
        outcomes = outcomes_of(self.sweep, trials)
        for watcher in self.watchers:
            watcher.see(outcomes)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Let them look for the last time."""
        outcomes = outcomes_of(self.sweep, trials)
        for watcher in self.watchers:
            watcher.end(outcomes)

    def get_state(self) -> dict[str, Any]:
        """Return the watchers' states."""
        return {type(watcher).__name__: watcher.state_dict() for watcher in self.watchers}

    def set_state(self, state: dict[str, Any]) -> None:
        """Give them back."""
        for watcher in self.watchers:
            watcher.load_state_dict(state[type(watcher).__name__])
