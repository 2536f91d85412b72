"""Starting and joining Ray, as far as it can be told without one."""

from collections.abc import Callable

import pytest

from cluster.config import ClusterConfig
from cluster.errors import InputError
from cluster.session import session, start_patiently


def failing(times: int, message: str) -> tuple[Callable[[], None], list[int]]:
    """Return a start that fails so often, and the list of its attempts."""
    attempts: list[int] = []

    def start() -> None:
        attempts.append(len(attempts))
        if len(attempts) <= times:
            raise Exception(message)

    return start, attempts


def test_a_slow_start_is_tried_once_more() -> None:
    start, attempts = failing(1, "The current node timed out during startup. This could ...")
    start_patiently(start)
    assert attempts == [0, 1]


def test_a_start_that_stays_slow_fails() -> None:
    start, attempts = failing(2, "The current node timed out during startup.")
    with pytest.raises(Exception, match="timed out during startup"):
        start_patiently(start)
    assert attempts == [0, 1]


def test_other_failures_are_not_tried_again() -> None:
    start, attempts = failing(1, "no such executable")
    with pytest.raises(Exception, match="no such executable"):
        start_patiently(start)
    assert attempts == [0]


def test_a_cluster_that_nothing_listens_at_is_named() -> None:
    config = ClusterConfig(address="127.0.0.1:9")
    with pytest.raises(InputError, match=r"cluster\.address: cannot join '127\.0\.0\.1:9'"):
        session(config).__enter__()
