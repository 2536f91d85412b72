"""The service's counts: one process, and several processes of one host."""

import os
import subprocess
import sys
from pathlib import Path

from serve.metrics import FOLDER_VARIABLE, Metrics

REPLICA = """
import sys
from pathlib import Path
from serve.metrics import Metrics

metrics = Metrics(Path(sys.argv[1]))
metrics.observe_request("/v1/recommendations", 200, 0.004)
metrics.observe_stage("rank", 0.003, num_in=500, num_out=480)
metrics.count_degraded("rank: late")
sys.stdout.write(metrics.render().decode())
"""


def run_replica(folder: Path) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", REPLICA, str(folder)],
        env={**os.environ, FOLDER_VARIABLE: str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    return finished.stdout


def test_a_stage_reports_time_in_out_and_dropped() -> None:
    metrics = Metrics()
    metrics.observe_stage("filter", 0.001, num_in=500, num_out=450)
    text = metrics.render().decode()
    assert 'millrace_stage_in_total{stage="filter"} 500.0' in text
    assert 'millrace_stage_out_total{stage="filter"} 450.0' in text
    assert 'millrace_stage_dropped_total{stage="filter"} 50.0' in text
    assert 'millrace_stage_seconds_count{stage="filter"} 1.0' in text


def test_requests_are_counted_by_route_and_status() -> None:
    metrics = Metrics()
    metrics.observe_request("/v1/events", 202, 0.001)
    metrics.observe_request("/v1/events", 422, 0.001)
    text = metrics.render().decode()
    assert 'millrace_requests_total{route="/v1/events",status="202"} 1.0' in text
    assert 'millrace_requests_total{route="/v1/events",status="422"} 1.0' in text
    assert 'millrace_request_seconds_count{route="/v1/events"} 2.0' in text


def test_sources_and_degraded_answers_are_counted() -> None:
    metrics = Metrics()
    metrics.count_served({"two_tower": 15, "fresh": 5})
    metrics.count_degraded("rank: late")
    text = metrics.render().decode()
    assert 'millrace_served_items_total{source="fresh"} 5.0' in text
    assert 'millrace_degraded_total{reason="rank: late"} 1.0' in text


def test_two_processes_do_not_share_counts_in_memory() -> None:
    first, second = Metrics(), Metrics()
    first.count_events("shop", 3)
    assert "millrace_events_total{" not in second.render().decode()


def test_every_replica_tells_the_counts_of_all(tmp_path: Path) -> None:
    run_replica(tmp_path)
    text = run_replica(tmp_path)
    assert 'millrace_requests_total{route="/v1/recommendations",status="200"} 2.0' in text
    assert 'millrace_stage_in_total{stage="rank"} 1000.0' in text
    assert 'millrace_stage_seconds_count{stage="rank"} 2.0' in text
