"""Brings the service up, from the published bundle to the answering port, and down again."""

import argparse
import json
import logging
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from cluster.errors import ConfigError, InputError
from cluster.orphans import adopting
from cluster.ports import avoid_taken_haproxy_ports, refuse_taken
from cluster.session import cluster_address, session
from cluster.storage import Storage
from features.examples import EXAMPLES, Examples
from models.bundle import Bundle
from serve.client import Client
from serve.config import ServeSettings
from serve.deployments import ReplicaSetup
from serve.preparation import prepare
from serve.room import check_room

MAX_PORT = 65_535
EVERY_ADDRESS = ("0.0.0.0", "::")
WATCH_INTERVAL_S = 5.0


def launch(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Check, fill the online store, deploy, and stay until interrupted.

    What can be refused is refused before Ray starts.

    Raises:
        InputError: the port is taken, or there is no sound bundle that fits the prepared data.
    """
    if options.write_serve_config:
        from serve.serve_config import write

        write(settings, options.write_serve_config, host=options.host, port=options.port)
        return
    if not 1 <= options.port <= MAX_PORT:
        raise ConfigError(f"--port {options.port}: must lie between 1 and {MAX_PORT}")
    is_local = cluster_address(settings.cluster) is None
    if is_local:
        refuse_taken(options.host, options.port)
        avoid_taken_haproxy_ports()
    bundle = prepare(settings)
    with adopting(), _metrics_folder() as folder, session(settings.cluster):
        setup = ReplicaSetup(settings, bundle.id, folder)
        with _deployed(setup, options, is_local):
            _announce(settings, bundle, _client(options))
            _wait_for_interrupt()


@contextmanager
def _metrics_folder() -> Iterator[Path]:
    """Name a folder of this run's own, in which the replicas of a host keep their counts."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-metrics-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _deployed(setup: ReplicaSetup, options: argparse.Namespace, is_local: bool) -> Iterator[None]:
    """Deploy for the block; requests in flight are answered before the replicas end."""
    import ray
    import ray.serve

    from serve.app import build_app

    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    if is_local:
        check_room(setup.settings.serve.layout, ray.cluster_resources())
    ray.serve.start(
        http_options={"host": options.host, "port": options.port},
        proxy_location="HeadOnly" if is_local else "EveryNode",
        logging_config={"enable_access_log": False},
    )
    name = setup.settings.recommender
    try:
        ray.serve.run(build_app(setup), name=name, route_prefix="/")
    except RuntimeError as error:
        raise InputError(f"the replicas do not start: {_complaints(name)}") from error
    try:
        _client(options).wait_until_ready()
        yield
    finally:
        ray.serve.delete(name)


def _complaints(name: str) -> str:
    """Return the last line that each failing deployment has to say."""
    import ray.serve

    application = ray.serve.status().applications[name]
    said = {name: d.message.strip() for name, d in application.deployments.items() if d.message}
    lines = [f"{name}: {text.splitlines()[-1]}" for name, text in said.items()]
    return "; ".join(lines) or application.message


def _client(options: argparse.Namespace) -> Client:
    is_any = options.host in EVERY_ADDRESS
    return Client(options.port) if is_any else Client(options.port, options.host)


def _announce(settings: ServeSettings, bundle: Bundle, client: Client) -> None:
    url = client.url
    body = json.dumps({"user_id": _some_user(settings), "num_items": 5})
    sys.stdout.write(
        f"{settings.recommender}: bundle {bundle.id}, {settings.serve.layout_name}, on {url}\n"
        f"  curl -s {url}/v1/recommendations -d '{body}'\n"
        f"  {url}/docs  {url}/metrics\n"
    )
    sys.stdout.flush()


def _some_user(settings: ServeSettings) -> object:
    storage = Storage(settings.storage.root, settings.recommender)
    return Examples.open(storage).user_ids[0] if storage.exists(EXAMPLES) else "anyone"


def _wait_for_interrupt() -> None:
    """Wait for SIGINT or SIGTERM, which end a service as they should; fail when Ray is gone."""
    import ray.serve

    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    previous: dict[int, Any] = {
        number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        while not stop.wait(WATCH_INTERVAL_S):
            ray.serve.status()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
