"""The log: JSON lines that several processes append, bounded, each with its request's id."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serve.access import AccessLog
from serve.correlation import Correlation, correlated
from serve.logs import FILE, LogConfig, close_log, open_log

LINES = 400
WRITER = f"""
import logging
import sys
from pathlib import Path
from serve.logs import LogConfig, open_log

open_log(LogConfig(max_mb=0.05), Path(sys.argv[1]))
for number in range({LINES}):
    logging.getLogger("serve.test").warning("%s %d", sys.argv[2], number)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    handler = open_log(LogConfig(), tmp_path)
    yield tmp_path
    close_log(handler)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_warning_is_a_line_with_its_request_s_id(folder: Path) -> None:
    with correlated(Correlation("r-1")):
        logging.getLogger("serve.pipeline").warning("%s late", "rank")
    (line,) = lines(folder / FILE)
    assert line["request_id"] == "r-1"
    assert (line["level"], line["logger"], line["message"]) == (
        "WARNING",
        "serve.pipeline",
        "rank late",
    )
    assert line["time"].endswith("+00:00")


def test_an_exception_stays_on_its_line(folder: Path) -> None:
    try:
        raise RuntimeError("no\nindex")
    except RuntimeError:
        logging.getLogger("serve.pipeline").exception("retrieve failed")
    (line,) = lines(folder / FILE)
    assert "RuntimeError: no\nindex" in line["error"]
    assert "request_id" not in line


def test_a_closed_log_hears_no_more(tmp_path: Path) -> None:
    close_log(open_log(LogConfig(), tmp_path))
    logging.getLogger("serve.pipeline").warning("late")
    assert lines(tmp_path / FILE) == []


def test_a_sample_of_requests_gets_lines_the_same_in_every_process(folder: Path) -> None:
    access = AccessLog(LogConfig(sample=0.25))
    for number in range(400):
        access.write(f"r-{number}", status=200, ms=3.0, fields={"bundle": "b"})
    chosen = [line["request_id"] for line in lines(folder / FILE)]
    assert 60 < len(chosen) < 140
    for request_id in chosen:
        access.write(request_id, status=200, ms=3.0, fields={})
    assert len(lines(folder / FILE)) == 2 * len(chosen)


@pytest.mark.parametrize(("status", "ms"), [(500, 1.0), (200, 250.0)])
def test_a_failed_or_slow_request_always_gets_a_line(folder: Path, status: int, ms: float) -> None:
    AccessLog(LogConfig(sample=0.0)).write("r", status=status, ms=ms, fields={})
    AccessLog(LogConfig(sample=0.0)).write("r", status=429, ms=1.0, fields={})
    (line,) = lines(folder / FILE)
    assert (line["status"], line["ms"]) == (status, ms)


def test_processes_share_a_file_that_stays_bounded_and_whole(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    current, full = tmp_path / FILE, tmp_path / f"{FILE}.1"
    assert current.stat().st_size <= 50_000
    assert 45_000 < full.stat().st_size <= 50_200
    numbers: dict[str, list[int]] = {"a": [], "b": []}
    for line in [*lines(full), *lines(current)]:
        name, number = line["message"].split()
        numbers[name].append(int(number))
    for own in numbers.values():
        assert own == list(range(LINES - len(own), LINES))
