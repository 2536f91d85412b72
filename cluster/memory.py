"""How much memory this process may still take, by all limits that Linux sets."""

import math
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
KB = 1024


@dataclass(frozen=True)
class Memory:
    """Reads limits where the kernel shows them.

    Attributes:
        proc: of processes and of the machine.
        cgroups: of control groups, version 1 or 2.
    """

    proc: Path = Path("/proc")
    cgroups: Path = Path("/sys/fs/cgroup")

    def available_bytes(self) -> float:
        """Return the least that any limit leaves; infinite where none is known."""
        return min((self._machine(), self._address_space(), *self._groups()), default=math.inf)

    def _machine(self) -> float:
        lines = _lines(self.proc / "meminfo")
        found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        return float(found[0]) * KB if found else math.inf

    def _address_space(self) -> float:
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        lines = _lines(self.proc / "self" / "statm")
        if limit == resource.RLIM_INFINITY or not lines:
            return math.inf
        return float(limit - int(lines[0].split()[0]) * PAGE_BYTES)

    def _groups(self) -> Iterator[float]:
        """Yield what every group above this process leaves; file caches give way."""
        for line in _lines(self.proc / "self" / "cgroup"):
            _, controllers, path = line.split(":", 2)
            if not controllers:
                names = ("memory.max", "memory.current", "inactive_file")
                yield from self._above(self.cgroups, path, names)
            elif "memory" in controllers.split(","):
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
                yield from self._above(self.cgroups / controllers, path, names)

    def _above(self, root: Path, path: str, names: tuple[str, str, str]) -> Iterator[float]:
        folder = root / path.strip("/")
        for group in (folder, *folder.parents):
            limit, used = _lines(group / names[0]), _lines(group / names[1])
            if limit and used and limit[0] != "max":
                stat = dict(line.split() for line in _lines(group / "memory.stat"))
                yield float(limit[0]) - float(used[0]) + float(stat.get(names[2], 0))
            if group == root:
                return


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
