"""Log lines as JSON, in one file that the replicas of a host share."""

import fcntl
import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import Field

from cluster.config import Duration, Section
from serve.correlation import CURRENT

LOGGER = "serve"
"""Parent of every logger of this folder."""
FIELDS = "fields"
"""Attribute of a log record: what its line holds beside the usual."""
FILE = "logs/serve.jsonl"
MEGABYTE = 1_000_000


class LogConfig(Section):
    """`[serve.log]`: a JSON line per request, and warnings, under `[storage] root`."""

    sample: float = Field(default=1.0, ge=0, le=1)
    """Share of the requests that get a line, chosen by request id; failed and slow ones always
    get one."""
    slow: Duration = Field(default=250, ge=0)
    """A request that takes as long is slow."""
    max_mb: float = Field(default=64.0, gt=0)
    """The file moves to `serve.jsonl.1` when it is full, and replaces the one before."""


def open_log(config: LogConfig, folder: Path) -> logging.Handler:
    """Send what this folder's loggers say to the host's file; return what `close_log` takes.

    Args:
        config: bounds the file.
        folder: the recommender's local folder.
    """
    handler = LogFile(folder / FILE, max_bytes=int(config.max_mb * MEGABYTE))
    handler.setFormatter(JsonLines())
    logging.getLogger(LOGGER).addHandler(handler)
    return handler


def close_log(handler: logging.Handler) -> None:
    """Stop sending."""
    logging.getLogger(LOGGER).removeHandler(handler)
    handler.close()


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON with the id of the request that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        instant = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": instant.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        correlation = CURRENT.get()
        if correlation is not None:
            line["request_id"] = correlation.request_id
        line |= getattr(record, FIELDS, {})
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class LogFile(logging.Handler):
    """Appends lines to a file that several processes write and rotate.

    Args:
        path: the file; its folder is made.
        max_bytes: beyond which it is rotated.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        super().__init__()
        self.path = path
        self.max_bytes = max_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Append one line, in one write, so that lines of several processes never mix."""
        try:
            line = self.format(record).encode() + b"\n"
            self._follow(len(line))
            os.write(self._file, line)
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
        super().close()

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def _follow(self, num_bytes: int) -> None:
        """Make sure that the open file is the current one, and has room."""
        if self._is_current() and os.fstat(self._file).st_size + num_bytes > self.max_bytes:
            self._rotate()
        if not self._is_current():
            os.close(self._file)
            self._file = self._open()

    def _is_current(self) -> bool:
        try:
            named, own = self.path.stat(), os.fstat(self._file)
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)

    def _rotate(self) -> None:
        """Move the full file away, unless another process was first."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            if self._is_current():
                self.path.replace(f"{self.path}.1")
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
