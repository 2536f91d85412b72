"""One replica's way from the request for it to the first request that it takes."""

import json
import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from serve.readiness import READY

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Ready:
    """What a replica tells of its opening."""

    at_s: float
    """When it was ready, wall clock."""
    bundle_s: float
    warm_up_s: float

    @classmethod
    def of(cls, process_id: int, log: str) -> "Ready | None":
        """Find a process's line in the service's log; None while it is not there."""
        for line in reversed(log.splitlines()):
            found = json.loads(line)
            if (found["message"], found["process"]) == (READY, process_id):
                at_s = datetime.fromisoformat(found["time"]).timestamp()
                return cls(at_s, found["bundle_s"], found["warm_up_s"])
        return None


@dataclass(frozen=True)
class Start:
    """Seconds of each step of a start; they add up to `total_s`.

    Attributes:
        process_s: from the request to the process: the controller, the runtime environment.
        imports_s: the process's own start, and what it imports.
        bundle_s: opening the bundle and its programs.
        warm_up_s: synthetic passes through the stages.
        announced_s: until the service counts the replica as running.
        total_s: from the request to then.
        cpu_s: what the process has computed for it: a busy machine changes it little.
    """

    process_s: float
    imports_s: float
    bundle_s: float
    warm_up_s: float
    announced_s: float
    total_s: float
    cpu_s: float

    @classmethod
    def of(cls, process_id: int, ready: Ready, *, asked_s: float, running_s: float) -> "Start":
        """Put together what is known of a start, at its end.

        Args:
            process_id: the replica's.
            ready: from its log.
            asked_s: when it was asked for, wall clock.
            running_s: when it was seen to run.
        """
        began_s = started_s(process_id)
        opened_s = ready.at_s - ready.bundle_s - ready.warm_up_s
        return cls(
            process_s=began_s - asked_s,
            imports_s=opened_s - began_s,
            bundle_s=ready.bundle_s,
            warm_up_s=ready.warm_up_s,
            announced_s=running_s - ready.at_s,
            total_s=running_s - asked_s,
            cpu_s=cpu_s(process_id),
        )

    def row(self) -> dict[str, float]:
        """Return the steps, rounded."""
        return {name: round(value, 2) for name, value in vars(self).items()}


def started_s(process_id: int) -> float:
    """Return when a process began, wall clock."""
    age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(_stat(process_id)[19]) / TICKS
    return time.time() - age_s


def cpu_s(process_id: int) -> float:
    """Return what a process has computed, in seconds of a core."""
    fields = _stat(process_id)
    return (int(fields[11]) + int(fields[12])) / TICKS


def _stat(process_id: int) -> list[str]:
    """Return the fields behind the process's name, of which the first is its state."""
    return (PROC / str(process_id) / "stat").read_text().rpartition(")")[2].split()
