"""A replica's start is put together from its log and its process."""

import json
import os
import time

import pytest

from benchmarks.replicas.start import Ready, Start, cpu_s, started_s
from benchmarks.replicas.summary import summary

LINES = [
    {"time": "2026-01-02T03:04:05.500+00:00", "message": "ready", "process": 7, "bundle_s": 0.5},
    {"time": "2026-01-02T03:04:09.250+00:00", "message": "ready", "process": 8, "bundle_s": 0.7},
    {"time": "2026-01-02T03:04:10.000+00:00", "message": "request", "process": 8},
]
LOG = "".join(json.dumps({"warm_up_s": 0.1, **line}) + "\n" for line in LINES)


def test_each_process_has_a_line() -> None:
    first, second = Ready.of(7, LOG), Ready.of(8, LOG)
    assert first is not None
    assert second is not None
    assert (first.bundle_s, second.bundle_s, second.warm_up_s) == (0.5, 0.7, 0.1)
    assert second.at_s - first.at_s == 3.75
    assert Ready.of(9, LOG) is None


def test_a_process_tells_when_it_began_and_what_it_computed() -> None:
    age_s = time.time() - started_s(os.getpid())
    assert 0 < age_s < time.clock_gettime(time.CLOCK_BOOTTIME)
    assert cpu_s(os.getpid()) == pytest.approx(time.process_time(), abs=0.1)


def test_the_steps_of_a_start_add_up() -> None:
    began_s = started_s(os.getpid())
    ready = Ready(began_s + 5.0, bundle_s=0.5, warm_up_s=0.25)
    start = Start.of(os.getpid(), ready, asked_s=began_s - 1.0, running_s=began_s + 5.5)
    row = start.row()
    assert row["total_s"] == 6.5
    steps = ("process_s", "imports_s", "bundle_s", "warm_up_s", "announced_s")
    assert sum(row[step] for step in steps) == pytest.approx(6.5, abs=0.05)
    assert row["imports_s"] == pytest.approx(4.25, abs=0.02)


def test_what_further_replicas_add_is_the_growth_of_the_sum() -> None:
    rows = [{"programs": "compiled", "total_pss_mb": total} for total in (300.0, 450.5, 590.0)] + [
        {"programs": "exported", "total_pss_mb": 1.0}
    ] * 3
    starts = [
        {"programs": programs, "total_s": total_s, "cpu_s": 3.0}
        for programs, total_s in (("compiled", 4.0), ("compiled", 5.0), ("exported", 9.0))
    ]
    assert summary(rows, starts, "compiled") == {
        "one_replica_mb": 300.0,
        "second_adds_mb": 150.5,
        "third_adds_mb": 139.5,
        "ready_s": 4.5,
        "ready_cpu_s": 3.0,
    }
