"""Ports: taken ones are named, HAProxy's own are moved out of the way."""

import os
import socket
from collections.abc import Iterator

import pytest

from cluster.errors import InputError
from cluster.ports import HAPROXY_PORTS, avoid_taken_haproxy_ports, free_port, refuse_taken


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


def test_haproxy_ports_that_the_user_set_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in HAPROXY_PORTS:
        monkeypatch.setenv(variable, "1")
    avoid_taken_haproxy_ports()
    assert {os.environ[variable] for variable in HAPROXY_PORTS} == {"1"}
