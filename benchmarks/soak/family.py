"""The processes of a service, by what they do, and how their sizes change over time."""

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from benchmarks.footprint import Footprint
from benchmarks.kills.processes import command_line, descendants
from cluster.progress import ProgressBar

ROLES = {
    "replica": ("ServeReplica:",),
    "controller": ("ServeController",),
    "proxy": ("ProxyActor", "HAProxyManager"),
    "guard": ("haproxy.py",),
    "haproxy": ("haproxy -",),
    "command": ("-m serve ",),
}
"""Parts of command lines; whatever else Ray has started is "ray"."""
OTHERS = "ray"
INTERVAL_S = 2
PARTS = 5
"""The last fifth of the time is compared with the first."""


class Size(NamedTuple):
    """What the processes of one role take together."""

    processes: int
    pss_mb: float
    anon_mb: float
    """Of it, what no file holds."""
    fds: int

    @classmethod
    def sum(cls, sizes: Iterable["Size"]) -> "Size":
        """Add sizes up."""
        processes, pss_mb, anon_mb, fds = (sum(column) for column in zip(*sizes, strict=True))
        return cls(int(processes), pss_mb, anon_mb, int(fds))


Sample = Mapping[str, Size]
"""Sizes by role at one instant."""


def role_of(command: str) -> str:
    """Return what a process does by its command line."""
    found = (role for role, parts in ROLES.items() if any(part in command for part in parts))
    return next(found, OTHERS)


def look(process_id: int) -> Sample:
    """Measure a process and all below it."""
    members: dict[str, list[Size]] = defaultdict(list)
    for member in {process_id, *descendants(process_id)}:
        found = Footprint.of(member)
        if found is not None:
            own = Size(1, found.pss_mb, found.anon_mb, found.num_fds)
            members[role_of(command_line(member))].append(own)
    return {role: Size.sum(sizes) for role, sizes in members.items()}


class Family:
    """Looks at a process and all below it every few seconds, for a block.

    Args:
        process_id: the eldest.
        progress: counts the seconds.
    """

    def __init__(self, process_id: int, progress: ProgressBar) -> None:
        self.samples: list[Sample] = []
        self._process_id = process_id
        self._progress = progress
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="family", daemon=True)

    def __enter__(self) -> "Family":
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
        due_s = time.monotonic()
        while not self._stop.wait(max(due_s - time.monotonic(), 0.0)):
            self.samples.append(look(self._process_id))
            due_s += INTERVAL_S
            size = total(self.samples[-1])
            self._progress.advance(INTERVAL_S, f"{size.pss_mb:,.0f} MB, {size.fds:,} descriptors")


def growth(values: Sequence[float]) -> float:
    """Return by what share the median of the last fifth exceeds that of the first."""
    length = max(len(values) // PARTS, 1)
    first, last = statistics.median(values[:length]), statistics.median(values[-length:])
    return round(last / first - 1, 4) if first else 0.0


def total(sample: Sample) -> Size:
    """Return what all roles take together."""
    return Size.sum(sample.values())


def growth_by_role(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return for each role how many processes it has, its last sizes, and how they grew."""
    found = {}
    for role in samples[-1]:
        sizes = [sample[role] for sample in samples if role in sample]
        found[role] = {
            "processes": sizes[-1].processes,
            "pss_mb": round(sizes[-1].pss_mb, 1),
            "memory_growth": growth([size.pss_mb for size in sizes]),
            "anon_growth": growth([size.anon_mb for size in sizes]),
            "fds": sizes[-1].fds,
            "fd_growth": growth([size.fds for size in sizes]),
        }
    return found
