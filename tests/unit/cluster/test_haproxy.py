"""The configuration that HAProxy is started on."""

import os
from pathlib import Path

from cluster.haproxy import BUFFER_REQUEST, buffer_requests

CONFIG = "global\n    maxconn 9\ndefaults\n    mode http\nfrontend f\n    bind :1\n"


def test_requests_are_read_whole_in_every_backend(tmp_path: Path) -> None:
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG)
    os.utime(config, ns=(5, 7))
    for _ in range(2):
        buffer_requests(config)
        assert config.read_text() == CONFIG.replace("defaults\n", f"defaults\n{BUFFER_REQUEST}")
        assert config.stat().st_mtime_ns == 7
    assert [entry.name for entry in tmp_path.iterdir()] == ["haproxy.cfg"]
