"""Leaves no process behind: what Ray's workers start may outlive them when they are killed."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
DEADLINE_S = 10.0
POLL_S = 0.05


@contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of descendants that lose theirs, and end at last what is left of them.

    HAProxy is one: killed while it reloads, its manager does not know the new process. Other
    systems than Linux have no such thing; there the block is just run.
    """
    if sys.platform != "linux":
        yield
        return
    prctl = ctypes.CDLL(None).prctl
    before = _children()
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _end(before)
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _end(spared: set[int]) -> None:
    """Kill the children, and theirs as they become ours, until only the spared are left."""
    deadline = time.monotonic() + DEADLINE_S
    while (children := _children() - spared) and time.monotonic() < deadline:
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)
        time.sleep(POLL_S)


def _children() -> set[int]:
    found, parent = set(), os.getpid()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.add(int(folder.name))
    return found
