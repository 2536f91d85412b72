"""The processes below this one, found by what they were started as."""

import os
import signal
from collections import defaultdict
from contextlib import suppress
from pathlib import Path


def descendants(process_id: int) -> set[int]:
    """Return all processes below one."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            children[int(fields[1])].append(int(folder.name))
    found: set[int] = set()
    pending = [process_id]
    while pending:
        below = children[pending.pop()]
        found |= set(below)
        pending += below
    return found


def named(part: str) -> list[int]:
    """Return the processes below this one whose command line holds a text, oldest first."""
    return sorted(child for child in descendants(os.getpid()) if part in command_line(child))


def kill(process_id: int) -> None:
    """Kill a process as if it had crashed."""
    os.kill(process_id, signal.SIGKILL)


def command_line(process_id: int) -> str:
    """Return what a process was started as, nothing when it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{process_id}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""
