"""Clients that ask a service without a pause while something is done to it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.patience import wait_for

CLIENTS = 3
ENOUGH = 15
NUM_USERS = 300
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Exchange:
    """One request and what became of it."""

    request: dict[str, Any]
    status: int
    answer: dict[str, Any]
    """Empty unless the status is 200."""
    received_ms: int
    """Wall clock, since 1970."""


class Clients:
    """What all of them were answered, in the order in which the answers came.

    Args:
        url: the service's.
    """

    def __init__(self, url: str) -> None:
        self.url = f"{url}/v1/recommendations"
        self.exchanges: list[Exchange] = []
        self.is_over = threading.Event()

    def ask(self, first: int) -> None:
        """Ask for one user after the other until it is over."""
        user_id = first
        with httpx.Client(timeout=TIMEOUT_S) as client:
            while not self.is_over.is_set():
                request = {"user_id": user_id}
                response = client.post(self.url, json=request)
                answer = response.json() if response.status_code == httpx.codes.OK else {}
                now_ms = time.time_ns() // 1_000_000
                exchange = Exchange(request, response.status_code, answer, now_ms)
                self.exchanges.append(exchange)
                user_id = user_id % NUM_USERS + 1

    def wait_for_answers(self) -> None:
        """Wait for some more."""
        wanted = len(self.exchanges) + ENOUGH
        wait_for(lambda: len(self.exchanges) >= wanted)

    @property
    def statuses(self) -> set[int]:
        """Every status that there was."""
        return {one.status for one in self.exchanges}

    @property
    def degraded(self) -> set[str | None]:
        """Everything that answers missed; None of those that missed nothing."""
        return {one.answer["degraded"] for one in self.exchanges if one.answer}

    @property
    def bundles(self) -> list[str]:
        """The bundle of each answer."""
        return [one.answer["bundle"] for one in self.exchanges if one.answer]


@contextmanager
def load_on(url: str) -> Iterator[Clients]:
    """Ask for the block, and fail with a client that failed."""
    clients = Clients(url)
    with ThreadPoolExecutor(CLIENTS) as pool:
        firsts = range(1, NUM_USERS, NUM_USERS // CLIENTS)
        running = [pool.submit(clients.ask, first) for first in firsts]
        try:
            clients.wait_for_answers()
            yield clients
        finally:
            clients.is_over.set()
    for one in running:
        one.result()
