"""Watches how many replicas a deployment has, from a thread of its own."""

import threading
import time
from dataclasses import dataclass
from types import TracebackType

import ray.serve

INTERVAL_S = 0.25


@dataclass(frozen=True)
class Look:
    """The replicas at an instant of the wall clock."""

    at_s: float
    running: int
    starting: int


class Watch:
    """Looks at a deployment for a block.

    Args:
        application: its name.
        deployment: its name within.
    """

    def __init__(self, application: str, deployment: str) -> None:
        self._names = application, deployment
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self.looks: list[Look] = []

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        application, deployment = self._names
        while not self._stop.wait(INTERVAL_S):
            status = ray.serve.status().applications[application].deployments[deployment]
            states = {str(state): number for state, number in status.replica_states.items()}
            running, starting = (_number(states, name) for name in ("RUNNING", "STARTING"))
            self.looks.append(Look(time.time(), running, starting))


def _number(states: dict[str, int], name: str) -> int:
    return sum(number for state, number in states.items() if state.endswith(name))
