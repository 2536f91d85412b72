"""Waiting for what must come to pass, for a limited time."""

import time
from collections.abc import Callable

PATIENCE_S = 180.0
"""No measure of speed: a busy machine is slow, a hang ends."""
POLL_S = 0.05


def wait_for(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds, and fail when it does not in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {patience_s:g} s"
        time.sleep(POLL_S)
