"""A real HAProxy that is killed comes back by itself."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cluster import haproxy
from cluster.ports import free_port
from tests.patience import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.alone,
    pytest.mark.skipif(not haproxy.environment(), reason="no HAProxy, or no Linux"),
]

BACK_S = 2.0
"""Ray would take half a minute."""
# The manager is Ray's part: it starts HAProxy, starts another to take over, and so on.
MANAGER = """
import json, subprocess, sys
started = []
for line in sys.stdin:
    started.append(subprocess.Popen(json.loads(line), stdin=subprocess.DEVNULL))
    print(started[-1].pid, flush=True)
"""
CONFIG = """
global
    stats socket {folder}/admin.sock mode 666 level admin expose-fd listeners
defaults
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend http
    bind 127.0.0.1:{port}
    http-request return status 200 content-type text/plain string "{text}"
"""


class Proxy:
    """A manager with its HAProxy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port("127.0.0.1")
        self.config = folder / "haproxy.cfg"
        self.say("first")
        self.manager = subprocess.Popen(
            [sys.executable, "-c", MANAGER],
            env=os.environ | haproxy.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.process_id = self.start()

    def start(self, *more: str) -> int:
        """Let the manager start HAProxy; return its process."""
        binary = haproxy.environment()[haproxy.STARTED_VARIABLE]
        assert self.manager.stdin is not None
        assert self.manager.stdout is not None
        command = [binary, "-db", "-f", str(self.config), "-dR", *more]
        self.manager.stdin.write(json.dumps(command) + "\n")
        self.manager.stdin.flush()
        return int(self.manager.stdout.readline())

    def reload(self) -> int:
        """Let another HAProxy take over, as Ray does when replicas come and go."""
        admin = str(self.folder / "admin.sock")
        self.process_id = self.start("-sf", str(self.process_id), "-x", admin)
        wait_for(lambda: self.answering() == self.process_id)
        return self.process_id

    def say(self, text: str) -> None:
        """Write a configuration that answers so."""
        self.config.write_text(CONFIG.format(folder=self.folder, port=self.port, text=text))

    def answer(self) -> str | None:
        """Return what it answers, None if it does not."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/").text
        except httpx.TransportError:
            return None

    def answering(self) -> int | None:
        """Return the process that answers."""
        return haproxy.answering_pid(str(self.folder / "admin.sock"))


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    running = Proxy(tmp_path)
    wait_for(lambda: running.answer() == "first")
    yield running
    running.manager.kill()
    running.manager.wait()
    wait_for(lambda: running.answering() in (None, running.process_id))
    if running.answering() is not None:
        os.kill(running.process_id, signal.SIGKILL)
    running.manager.communicate()


def test_ray_finds_the_process_that_it_started(proxy: Proxy) -> None:
    assert proxy.answering() == proxy.process_id


def test_it_comes_back_however_often_it_is_killed(proxy: Proxy) -> None:
    for _ in range(2):
        killed = proxy.answering()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        killed_s = time.monotonic()
        wait_for(lambda killed=killed: proxy.answering() not in (None, killed))
        assert time.monotonic() - killed_s < BACK_S
        assert proxy.answer() == "first"


def test_it_follows_the_configuration_that_ray_writes(proxy: Proxy) -> None:
    os.kill(proxy.process_id, signal.SIGKILL)
    wait_for(lambda: proxy.answer() == "first")
    proxy.say("second")
    wait_for(lambda: proxy.answer() == "second")


def test_it_ends_with_its_manager(proxy: Proxy) -> None:
    os.kill(proxy.process_id, signal.SIGKILL)
    wait_for(lambda: proxy.answer() == "first")
    proxy.manager.kill()
    wait_for(lambda: proxy.answer() is None)


def test_one_guard_guards_whatever_ray_has_started_last(proxy: Proxy) -> None:
    guard = (proxy.folder / "haproxy.cfg.guard").read_text().split()[0]
    for text in ("second", "third"):
        proxy.say(text)
        reloaded = proxy.reload()
        assert proxy.answer() == text
        assert (proxy.folder / "haproxy.cfg.guard").read_text().split()[0] == guard
    os.kill(reloaded, signal.SIGKILL)
    wait_for(lambda: proxy.answering() not in (None, reloaded))
    assert proxy.answer() == "third"
