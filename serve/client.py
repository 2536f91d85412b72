"""A service in a process of its own, and a small client for it; needs nothing but Python."""

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from cluster.errors import InputError

START_TIMEOUT_S = 180.0
READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.05
REQUEST_TIMEOUT_S = 30.0


class Client:
    """Speaks JSON with a service."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.port = port
        self.host = host

    @property
    def url(self) -> str:
        """The service's address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def get(self, path: str) -> tuple[int, bytes]:
        """Return status and body."""
        return self._exchange("GET", path, None)

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """Post JSON; return status and what the JSON of the answer holds."""
        status, answer = self._exchange("POST", path, json.dumps(body))
        return status, json.loads(answer)

    def put(self, path: str, body: object = None) -> int:
        """Put JSON, if any; return the status."""
        return self._exchange("PUT", path, None if body is None else json.dumps(body))[0]

    def delete(self, path: str) -> int:
        """Return the status."""
        return self._exchange("DELETE", path, None)[0]

    def _exchange(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def is_ready(self) -> bool:
        """Tell whether the service answers."""
        try:
            return self.get("/v1/health")[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_until_ready(self) -> None:
        """Wait for a service that has started: its proxy follows the replicas by a moment.

        Raises:
            InputError: that takes too long.
        """
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise InputError(f"{self.url} did not answer within {READY_TIMEOUT_S:g} s")
            time.sleep(POLL_S)


def serve_command(config: Path, port: int, overrides: Sequence[str] = ()) -> list[str]:
    """Return the command line that serves a config on this machine."""
    command = [sys.executable, "-m", "serve", str(config), "--port", str(port)]
    return [*command, *(part for override in overrides for part in ("--set", override))]


class ServiceProcess:
    """Runs a service for a block: ready at its beginning, gone at its end.

    Args:
        command: see `serve_command`.
        port: where it will answer.
        log_path: receives what the command prints; None shows it.
    """

    def __init__(self, command: Sequence[str], port: int, log_path: Path | None = None) -> None:
        self.client = Client(port)
        self._command = command
        self._log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Client:
        with ExitStack() as files:
            log = files.enter_context(self._log_path.open("wb")) if self._log_path else None
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        return self.client

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def process_id(self) -> int:
        """The process that runs the command."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """End the service as Ctrl-C would; return its exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.client.is_ready():
            if process.poll() is not None:
                raise InputError(f"the service ended: {self._last_line(process)}")
            if time.monotonic() > deadline:
                raise InputError(f"the service was not ready within {START_TIMEOUT_S:.0f} s")
            time.sleep(POLL_S)

    def _last_line(self, process: subprocess.Popen[bytes]) -> str:
        lines = self._log_path.read_text(errors="replace").split("\n") if self._log_path else []
        said = [line for line in lines if line.strip()]
        return said[-1] if said else f"exit code {process.returncode}"
