"""A ready replica says so in the service's log."""

import json
import os
from pathlib import Path

from serve.logs import FILE, LogConfig, close_log, open_log
from serve.readiness import log_ready


def test_the_line_tells_what_the_opening_took(tmp_path: Path) -> None:
    handler = open_log(LogConfig(), tmp_path)
    try:
        log_ready("gateway", "b1", bundle_s=0.25, warm_up_s=0.125)
    finally:
        close_log(handler)
    (line,) = (tmp_path / FILE).read_text().splitlines()
    found = json.loads(line)
    assert (found["message"], found["process"]) == ("ready", os.getpid())
    assert (found["deployment"], found["bundle"]) == ("gateway", "b1")
    assert (found["bundle_s"], found["warm_up_s"]) == (0.25, 0.125)
