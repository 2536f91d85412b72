"""What came of a trial, read from what it reported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tune.space import Drawn
from tune.sweep import Sweep
from tune.trial import SCORE

Status = Literal["waiting", "running", "stopped", "done", "failed"]
# Ray Tune's own words for a trial; a terminated one was stopped unless it says that it was over.
UNDER_WAY: dict[str, Status] = {"PENDING": "waiting", "PAUSED": "waiting", "RUNNING": "running"}


@dataclass(frozen=True)
class Outcome:
    """One trial.

    Attributes:
        number: in order of creation, from 1.
        drawn: its values as the search knows them; a population's member's at its best epoch.
        values: its values as the config holds them.
        status: `stopped` by the scheduler or the end of the time, `done` by itself.
        value: the monitored figure of the weights that it keeps; None before the first epoch.
        curve: the monitored figure of every epoch.
        best_epoch: whose weights it keeps.
        seconds: that it took.
        reason: why it failed.
    """

    number: int
    drawn: Drawn
    values: dict[str, Any]
    status: Status
    value: float | None = None
    curve: tuple[float, ...] = ()
    best_epoch: int = 0
    seconds: float = 0.0
    reason: str | None = None

    @classmethod
    def of_trial(cls, sweep: Sweep, number: int, trial: Any) -> "Outcome":
        """Read it from a `ray.tune.experiment.Trial` that may be under way."""
        result = trial.last_result or {}
        status = _status(trial.status, result)
        reason = _last_line(trial.get_error()) if trial.status == "ERROR" else None
        return _outcome(sweep, number, {**result, "config": trial.config}, status, reason)

    @classmethod
    def of_result(cls, sweep: Sweep, number: int, result: Any) -> "Outcome":
        """Read it from a `ray.tune.Result` of a sweep that is over."""
        metrics = result.metrics or {}
        status = _status("ERROR" if result.error else "TERMINATED", metrics)
        return _outcome(sweep, number, metrics, status, _last_line(result.error))


def outcomes_of(sweep: Sweep, trials: Sequence[Any]) -> list[Outcome]:
    """Read all of Ray Tune's trials, in order of creation."""
    return [Outcome.of_trial(sweep, number, trial) for number, trial in enumerate(trials, 1)]


def best_of(outcomes: Sequence[Outcome], sign: float) -> Outcome | None:
    """Return the best trial, the earlier of equals; None where none has a figure."""
    judged = [outcome for outcome in outcomes if outcome.value is not None]
    return max(judged, key=lambda o: (sign * (o.value or 0.0), -o.number), default=None)


def is_default(sweep: Sweep, outcome: Outcome) -> bool:
    """Tell whether the trial had the config's own values."""
    return outcome.drawn == sweep.space.defaults()


def _outcome(
    sweep: Sweep, number: int, metrics: Mapping[str, Any], status: Status, reason: str | None
) -> Outcome:
    history = metrics.get("history")  # of a population's member, whose values change
    drawn = dict(history[metrics["best_epoch"] - 1] if history else metrics.get("config") or {})
    has_score = bool(metrics.get("curve"))
    return Outcome(
        number=number,
        drawn=drawn,
        values=sweep.space.values(drawn),
        status=status,
        value=sweep.sign * metrics[SCORE] if has_score else None,
        curve=tuple(metrics.get("curve", ())),
        best_epoch=metrics.get("best_epoch", 0),
        seconds=float(metrics.get("time_total_s") or 0.0),
        reason=metrics.get("failed") or reason,
    )


def _status(status: str, metrics: Mapping[str, Any]) -> Status:
    if metrics.get("failed") or status == "ERROR":
        return "failed"
    if status == "TERMINATED":
        return "done" if metrics.get("is_over") else "stopped"
    return UNDER_WAY[status]


def _last_line(error: Exception | None) -> str | None:
    return str(error).strip().rpartition("\n")[2] if error else None
