"""The benchmark's side of the rounds: it starts the variants and has each run steps in turn."""

import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

from cluster.errors import InputError
from cluster.ports import free_port
from cluster.session import WORKER_ENVIRONMENT

SOCKET = "rounds.sock"
LOG_CHARACTERS = 2_000
POLL_S = 0.5
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Variant:
    """How the workers of one variant are started.

    Attributes:
        name: of the variant; the workers report under it.
        module: run as `python -m MODULE NAME SOCKET WORLD`, under torchrun unless it is our
            Ray launcher.
        num_workers: processes.
        python_path: a folder with packages of its own.
    """

    name: str
    module: str = "benchmarks.throughput.torchrun"
    num_workers: int = 1
    python_path: Path | None = None

    def command(self, address: str, world_path: Path) -> list[str]:
        """Return the command line."""
        arguments = [self.module, self.name, address, str(world_path)]
        if not self.module.endswith(".torchrun"):
            return [sys.executable, "-m", *arguments]
        launcher = ["-m", "torch.distributed.run", "--master_addr", "127.0.0.1"]
        port = str(free_port("127.0.0.1"))
        launcher += ["--nproc_per_node", str(self.num_workers), "--master_port", port]
        return [sys.executable, *launcher, "-m", *arguments]

    def environment(self) -> dict[str, str]:
        """Return the environment: the same memory settings for every variant."""
        environment = {**os.environ, **WORKER_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
        if self.python_path:
            environment["PYTHONPATH"] = str(self.python_path)
        return environment


class Fleet:
    """Running variants; a context.

    Args:
        variants: what to start.
        world_path: the examples.
        folder: for the logs and the socket.
    """

    def __init__(self, variants: list[Variant], world_path: Path, folder: Path) -> None:
        self.variants = variants
        self.world_path = world_path
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._workers: dict[str, dict[int, Connection]] = {}

    def __enter__(self) -> "Fleet":
        """Start one variant after the other and wait for its workers."""
        address = str(self.folder / SOCKET)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen()
            listener.settimeout(POLL_S)
            try:
                for variant in self.variants:
                    self._start(variant, address, listener)
            except BaseException:
                self._end()
                raise
        (self.folder / SOCKET).unlink()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let every worker end."""
        self._end()

    def run(self, name: str, request: Any) -> list[Any]:
        """Send a request to all workers of a variant; return their answers by rank.

        Raises:
            InputError: the variant's process has ended; with the end of its log.
        """
        connections = self._workers[name]
        try:
            for connection in connections.values():
                connection.send(request)
            return [connections[rank].recv() for rank in sorted(connections)]
        except (EOFError, OSError) as error:
            raise InputError(self._problem(name)) from error

    def _start(self, variant: Variant, address: str, listener: socket.socket) -> None:
        started = time.monotonic()
        with (self.folder / f"{variant.name}.log").open("wb") as log:
            self.processes[variant.name] = subprocess.Popen(
                variant.command(address, self.world_path),
                env=variant.environment(),
                stdout=log,
                stderr=log,
            )
        self._workers[variant.name] = {}
        while len(self._workers[variant.name]) < variant.num_workers:
            is_late = time.monotonic() - started > START_TIMEOUT_S
            if is_late or self.processes[variant.name].poll() is not None:
                raise InputError(self._problem(variant.name))
            self._accept(listener)
        sys.stderr.write(f"{variant.name}: up after {time.monotonic() - started:.0f} s\n")

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except TimeoutError:
            return
        connection = Connection(accepted.detach())
        name, rank = connection.recv()
        self._workers[name][rank] = connection

    def _problem(self, name: str) -> str:
        log = (self.folder / f"{name}.log").read_text(errors="replace")
        return f"variant {name!r} has ended or does not answer:\n{log[-LOG_CHARACTERS:]}"

    def _end(self) -> None:
        for connections in self._workers.values():
            for connection in connections.values():
                with suppress(OSError):
                    connection.send(0)
        for process in self.processes.values():
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
