"""The service's counts: one process, and several processes of one host."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from serve.metrics import FOLDER_VARIABLE, Metrics
from serve.passage import Call, Passage
from serve.stages import StageReport

REPLICA = """
import os
import signal
import sys
from pathlib import Path
from serve.metrics import Metrics
from tests.unit.serve.test_metrics import passage

metrics = Metrics(Path(sys.argv[1]))
metrics.observe_request("/v1/recommendations", 200, 0.004)
metrics.observe(passage())
with metrics.in_flight():
    sys.stdout.write(metrics.render().decode())
    sys.stdout.flush()
    if len(sys.argv) > 2:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def passage() -> Passage:
    """A degraded request that two calls served."""
    retrieved = (StageReport("retrieve", 3.0, 500, 500), StageReport("filter", 1.0, 500, 450))
    calls = [Call("retrieve", 0.001, 0.010, retrieved, computed_s=0.004), Call("rank", 0.011, 0.2)]
    return Passage(
        request_id="r",
        bundle="b",
        seconds=0.22,
        calls=calls,
        degraded=["rank late"],
        candidates={"two_tower": 400, "fresh": 50},
        served={"two_tower": 15, "fresh": 5},
    )


def run_replica(folder: Path, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", REPLICA, str(folder), *arguments],
        env={**os.environ, FOLDER_VARIABLE: str(folder)},
        capture_output=True,
        text=True,
        check=not arguments,
    )
    return finished.stdout


def test_a_stage_reports_time_in_out_and_dropped() -> None:
    metrics = Metrics()
    metrics.observe(passage())
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


def test_answers_are_counted_by_bundle_source_and_what_they_missed() -> None:
    metrics = Metrics()
    metrics.observe(passage())
    text = metrics.render().decode()
    assert 'millrace_candidates_total{source="two_tower"} 400.0' in text
    assert 'millrace_served_items_total{source="fresh"} 5.0' in text
    assert 'millrace_degraded_total{reason="rank late"} 1.0' in text
    assert 'millrace_degraded_answers_total{bundle="b"} 1.0' in text
    assert 'millrace_answer_seconds_sum{bundle="b"} 0.22' in text


def test_an_answer_from_a_cache_says_nothing_of_its_bundle_s_speed() -> None:
    metrics = Metrics()
    metrics.observe(passage())
    metrics.observe(replace(passage(), seconds=0.0001, calls=(), is_cached=True))
    text = metrics.render().decode()
    assert 'millrace_answers_total{bundle="b",origin="stages"} 1.0' in text
    assert 'millrace_answers_total{bundle="b",origin="cache"} 1.0' in text
    assert 'millrace_answer_seconds_count{bundle="b"} 1.0' in text


def test_waiting_is_what_a_call_took_beyond_its_stages() -> None:
    metrics = Metrics()
    metrics.observe(passage())
    text = metrics.render().decode()
    assert 'millrace_stage_wait_seconds_sum{stage="retrieve"} 0.006' in text
    assert 'millrace_stage_wait_seconds_count{stage="rank"}' not in text


def test_caches_are_counted_by_name() -> None:
    metrics = Metrics()
    for outcome in ("hit", "hit", "miss", "eviction"):
        metrics.count_cache("answers", outcome)
    metrics.observe_cache("answers", 7, 30_000)
    text = metrics.render().decode()
    assert 'millrace_cache_hits_total{cache="answers"} 2.0' in text
    assert 'millrace_cache_misses_total{cache="answers"} 1.0' in text
    assert 'millrace_cache_evictions_total{cache="answers"} 1.0' in text
    assert 'millrace_cache_entries{cache="answers"} 7.0' in text
    assert 'millrace_cache_bytes{cache="answers"} 30000.0' in text


def test_requests_in_flight_come_and_go() -> None:
    metrics = Metrics()
    with metrics.in_flight():
        assert "millrace_requests_in_flight 1.0" in metrics.render().decode()
    assert "millrace_requests_in_flight 0.0" in metrics.render().decode()


def test_what_a_killed_replica_had_in_flight_is_forgotten(tmp_path: Path) -> None:
    assert "millrace_requests_in_flight 1.0" in run_replica(tmp_path, "killed")
    assert "millrace_requests_in_flight 1.0" in run_replica(tmp_path)


def test_two_processes_do_not_share_counts_in_memory() -> None:
    first, second = Metrics(), Metrics()
    first.count_events("shop", 3)
    assert "millrace_events_total{" not in second.render().decode()


def test_every_replica_tells_the_counts_of_all(tmp_path: Path) -> None:
    run_replica(tmp_path)
    text = run_replica(tmp_path)
    assert 'millrace_requests_total{route="/v1/recommendations",status="200"} 2.0' in text
    assert 'millrace_stage_in_total{stage="filter"} 1000.0' in text
    assert 'millrace_stage_seconds_count{stage="filter"} 2.0' in text
