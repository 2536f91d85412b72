"""A process's footprint follows what it takes."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.footprint import Footprint

MB = 2**20


def own() -> Footprint:
    found = Footprint.of(os.getpid())
    assert found is not None
    return found


def test_private_memory_and_descriptors_are_counted(tmp_path: Path) -> None:
    before = own()
    with mmap.mmap(-1, 64 * MB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as pages:
        pages.write(b"x" * len(pages))
        with (tmp_path / "file").open("w"):
            after = own()
    assert 60 < after.pss_mb - before.pss_mb < 70
    assert 60 < after.uss_mb - before.uss_mb < 70
    assert after.num_fds == before.num_fds + 1
    assert after.uss_mb <= after.pss_mb <= after.rss_mb


def test_a_process_that_has_ended_has_none() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    assert Footprint.of(ended.pid) is None
