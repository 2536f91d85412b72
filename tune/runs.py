"""The sweep in MLflow: a run for the sweep, a run inside it for every trial."""

from typing import Any

from train.figures import flat
from train.tracking import Tracking
from tune.outcome import Outcome, best_of
from tune.sweep import Sweep

# What MLflow calls a trial that is over.
STATUS = {"done": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class MlflowRuns:
    """Tracks the trials from the driver; a sweep that was killed goes on in the same runs.

    Args:
        sweep: whose trials they are.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.sweep = sweep
        self._tracking: Tracking | None = None
        self._points: dict[int, int] = {}
        self._ended: set[int] = set()
        self._open: set[int] = set()

    def begin(self) -> None:
        """Open the sweep's run."""
        params = flat(self.sweep.settings.model_dump(mode="json"))
        self._tracking = Tracking(
            self.sweep.storage,
            {key: str(value) for key, value in params.items()},
            name=f"tune {self.sweep.model}",
            key=self.sweep.id,
        )

    def see(self, outcomes: list[Outcome]) -> None:
        """Track what is new."""
        for outcome in outcomes:
            if outcome.status != "waiting" and outcome.number not in self._ended:
                self._track(outcome)

    def end(self, outcomes: list[Outcome]) -> None:
        """Track the rest and the best, and close every run."""
        self.see(outcomes)
        assert self._tracking is not None
        best = best_of(outcomes, self.sweep.sign)
        if best is not None and best.value is not None:
            figures = {f"best/{self.sweep.monitor}": best.value, "best/trial": float(best.number)}
            self._tracking.log("", figures, 0)
        self._tracking.__exit__(None, None, None)

    def state_dict(self) -> dict[str, Any]:
        """Return how much of every trial is tracked."""
        return {"points": dict(self._points), "ended": sorted(self._ended)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self._points, self._ended = dict(state["points"]), set(state["ended"])

    def _track(self, outcome: Outcome) -> None:
        assert self._tracking is not None
        name = f"trial {outcome.number:03d}"
        if outcome.number not in self._open:
            self._open.add(outcome.number)
            params = {key: str(value) for key, value in outcome.values.items()}
            self._tracking.start(name, params)
        told = self._points.get(outcome.number, 0)
        for epoch, value in enumerate(outcome.curve[told:], told + 1):
            self._tracking.log(name, {f"epoch/{self.sweep.monitor}": value}, epoch)
        self._points[outcome.number] = len(outcome.curve)
        if outcome.status in STATUS:
            self._ended.add(outcome.number)
            if outcome.value is not None:
                self._tracking.log(name, {self.sweep.monitor: outcome.value}, outcome.best_epoch)
            self._tracking.end(name, STATUS[outcome.status])
