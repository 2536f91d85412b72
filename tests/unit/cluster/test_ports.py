"""Ports: taken ones are named, HAProxy's own are moved out of the way."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.errors import InputError
from cluster.ports import HAPROXY_PORTS, avoid_taken_haproxy_ports, free_port, refuse_taken

ROOT = Path(__file__).resolve().parents[3]
# A service that has chosen its ports and not bound them yet.
STARTING = """
import json, os, sys
from cluster.ports import HAPROXY_PORTS, avoid_taken_haproxy_ports

ports = dict(zip(HAPROXY_PORTS, map(int, sys.argv[1:]), strict=True))
avoid_taken_haproxy_ports(ports)
print(json.dumps([int(os.environ.get(name, port)) for name, port in ports.items()]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_taken_port_is_named(taken_port: int) -> None:
    with pytest.raises(InputError, match=f"port {taken_port} on 127.0.0.1: Address already in use"):
        refuse_taken("127.0.0.1", taken_port)


def test_a_free_port_is_accepted() -> None:
    refuse_taken("127.0.0.1", free_port("127.0.0.1"))


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(InputError, match=r"port 8000 on 192\.0\.2\.1"):
        refuse_taken("192.0.2.1", 8000)


def test_services_that_start_at_once_get_different_haproxy_ports() -> None:
    environment = {n: value for n, value in os.environ.items() if n not in HAPROXY_PORTS}
    defaults = [str(free_port()) for _ in HAPROXY_PORTS]
    with ExitStack() as running:
        found = [
            running.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", STARTING, *defaults],
                    cwd=ROOT,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for _ in range(3)
        ]
        ports = [port for one in found if one.stdout for port in json.loads(one.stdout.readline())]
    assert len(set(ports)) == len(ports) == 3 * len(HAPROXY_PORTS)


def test_haproxy_ports_that_the_user_set_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in HAPROXY_PORTS:
        monkeypatch.setenv(variable, "1")
    avoid_taken_haproxy_ports()
    assert {os.environ[variable] for variable in HAPROXY_PORTS} == {"1"}
