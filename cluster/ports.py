"""Ports of this machine: which are taken, and which Ray Serve's HAProxy should take instead."""

import os
import socket
import sys
from collections.abc import Mapping

from cluster.errors import InputError

# HAProxy's own ports, by the variable through which Ray Serve reads them.
HAPROXY_PORTS = {"RAY_SERVE_HAPROXY_STATS_PORT": 8404, "RAY_SERVE_HAPROXY_METRICS_PORT": 9101}


def refuse_taken(host: str, port: int) -> None:
    """Check that a server may listen on the port.

    Raises:
        InputError: something listens there, or the address is not this machine's.
    """
    try:
        _bind(host, port)
    except OSError as error:
        raise InputError(f"port {port} on {host}: {error.strerror or error}") from None


def avoid_taken_haproxy_ports(ports: Mapping[str, int] = HAPROXY_PORTS) -> None:
    """Let a second service start on this machine: move HAProxy's own ports when they are taken.

    Only for a Ray that is about to start here; ports that the user has set are left alone. HAProxy
    binds them much later, and two of them would share a port unnoticed: each is claimed first.

    Args:
        ports: what HAProxy takes unless it is told otherwise, by variable.
    """
    for variable, port in ports.items():
        if variable not in os.environ and (_is_taken(port) or not _claim(port)):
            os.environ[variable] = str(free_port())


def free_port(host: str = "") -> int:
    """Return a port that nothing listens on at the moment."""
    return _bind(host, 0)


def _claim(port: int) -> bool:
    """Claim a port among all services of this machine, for as long as this process lives.

    An abstract socket has the very scope of a port, the network namespace, and ends with whoever
    holds it. Other systems than Linux have none, and run no HAProxy.
    """
    if sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0millrace-port-{port}")
    except OSError:
        claim.close()
        return False
    claim.detach()  # stays open
    return True


def _is_taken(port: int) -> bool:
    try:
        _bind("", port)
    except OSError:
        return True
    return False


def _bind(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        return int(listener.getsockname()[1])
