"""What the service counts, in Prometheus' text form; knows no stage and no HTTP framework."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from serve.passage import Passage
from serve.stages import StageReport

CONTENT_TYPE = CONTENT_TYPE_LATEST
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Set for a replica's process, the client library keeps its counts in files in that folder."""
CACHE, STAGES = "cache", "stages"
"""Where an answer comes from."""
STAGE_BUCKETS_S = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03),
    *(0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0),
)
WAIT_BUCKETS_S = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64)
REQUEST_BUCKETS_S = (
    *(0.002, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1.0, 2.0, 5.0),
)
"""Dense around the default budget of 250 ms, so that a p99 against it can be read."""


class Metrics:
    """The counts of one process, or of every process that writes into `folder`.

    Args:
        folder: where the processes of this host keep their counts, so that each of them tells
            all; the process must have been started with `FOLDER_VARIABLE` set to it. None
            counts in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._registry = CollectorRegistry()
        self._requests = self._counter("requests", "HTTP requests", "route", "status")
        self._request_seconds = self._histogram(
            "request_seconds", "time to answer a request", "route", buckets=REQUEST_BUCKETS_S
        )
        self._in_flight = self._total(
            "requests_in_flight", "recommendations and events that are being answered"
        )
        self._pressure = self._worst(
            "pressure", "expected latency over the objective, of the worst replica"
        )
        self._level = self._worst(
            "overload_level", "step of the overload ladder, of the worst replica"
        )
        self._answers = self._counter("answers", "answers", "bundle", "origin")
        self._answer_seconds = self._histogram(
            "answer_seconds",
            "time of an answer that was computed, from a cache it is not counted",
            "bundle",
            buckets=REQUEST_BUCKETS_S,
        )
        self._degraded_answers = self._counter(
            "degraded_answers", "answers that miss something", "bundle"
        )
        self._degraded = self._counter("degraded", "what answers missed", "reason")
        self._stage_seconds = self._histogram(
            "stage_seconds", "time in a stage", "stage", buckets=STAGE_BUCKETS_S
        )
        self._stage_wait = self._histogram(
            "stage_wait_seconds",
            "time in queues and on the way to a stage",
            "stage",
            buckets=WAIT_BUCKETS_S,
        )
        self._stage_in = self._counter("stage_in", "items that entered a stage", "stage")
        self._stage_out = self._counter("stage_out", "items that left a stage", "stage")
        self._stage_dropped = self._counter("stage_dropped", "items a stage dropped", "stage")
        self._rank_batch = self._histogram(
            "rank_batch_requests", "requests that were ranked in one call", buckets=BATCH_BUCKETS
        )
        self._candidates = self._counter("candidates", "candidates found", "source")
        self._served = self._counter("served_items", "items in answers", "source")
        self._refused = self._counter("refused", "requests refused under overload", "reason")
        self._retries = self._counter("retries", "calls made again", "deployment")
        self._cache = {
            "hit": self._counter("cache_hits", "what was found in a cache", "cache"),
            "miss": self._counter("cache_misses", "what a cache did not have", "cache"),
            "eviction": self._counter("cache_evictions", "what a full cache let go", "cache"),
        }
        self._cache_entries = self._total("cache_entries", "entries of all replicas", "cache")
        self._cache_bytes = self._total("cache_bytes", "bytes of all replicas", "cache")
        self._switches = self._counter("bundle_switches", "times that another bundle took over")
        self._challenger = self._counter(
            "challenger_requests", "requests that the challenger answered, or would have", "outcome"
        )
        self._overlap = self._worst(
            "challenger_overlap", "share of the items shown that the challenger would show too"
        )
        self._drift = Gauge(
            "millrace_challenger_drift",
            "population stability index of the challenger's predictions to the champion's",
            ("task",),
            registry=self._registry,
            multiprocess_mode="livemax",
        )
        self._held = self._worst("bundles_held", "bundles open, of the replica with most")
        self._events = self._counter("events", "events accepted", "recommender")

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    @contextmanager
    def in_flight(self) -> Iterator[None]:
        """Count a request as being answered for the block."""
        with self._in_flight.track_inprogress():
            yield

    def observe(self, passage: Passage) -> None:
        """Count an answer by its bundle, its stages and its sources.

        The time of one from a cache says nothing of its bundle: the more often users come back to
        a bundle, the faster it would seem.
        """
        self._answers.labels(passage.bundle, CACHE if passage.is_cached else STAGES).inc()
        if not passage.is_cached:
            self._answer_seconds.labels(passage.bundle).observe(passage.seconds)
        if passage.degraded:
            self._degraded_answers.labels(passage.bundle).inc()
        for reason in passage.degraded:
            self._degraded.labels(reason).inc()
        for call in passage.calls:
            if call.reports:
                self._stage_wait.labels(call.stage).observe(call.waited_s)
        for report in passage.reports:
            self._observe_stage(report)
        for source, num_items in passage.candidates.items():
            self._candidates.labels(source).inc(num_items)
        for source, num_items in passage.served.items():
            self._served.labels(source).inc(num_items)

    def observe_batch(self, num_requests: int) -> None:
        """Hear how many requests were ranked in one call that could have been for several."""
        self._rank_batch.observe(num_requests)

    def count_events(self, recommender: str, num_events: int) -> None:
        """Count events that were written into the online store."""
        self._events.labels(recommender).inc(num_events)

    def observe_pressure(self, pressure: float, level: int) -> None:
        """Tell how hard pressed this process is, and which step of the ladder it stands on."""
        self._pressure.set(pressure)
        self._level.set(level)

    def count_refused(self, reason: str) -> None:
        """Count a request that was refused because of overload."""
        self._refused.labels(reason).inc()

    def count_retry(self, deployment: str) -> None:
        """Count a call that was made again because a replica was lost."""
        self._retries.labels(deployment).inc()

    def count_cache(self, cache: str, outcome: str) -> None:
        """Count a cache's "hit", "miss" or "eviction"."""
        self._cache[outcome].labels(cache).inc()

    def observe_cache(self, cache: str, num_entries: int, num_bytes: int) -> None:
        """Tell how large this process' cache is."""
        self._cache_entries.labels(cache).set(num_entries)
        self._cache_bytes.labels(cache).set(num_bytes)

    def count_switch(self) -> None:
        """Count that this process answers from another bundle."""
        self._switches.inc()

    def count_challenger(self, outcome: str) -> None:
        """Count a request that the challenger answered, "shown" or "unseen", or had no room for."""
        self._challenger.labels(outcome).inc()

    def observe_challenger(self, overlap: float | None, drift: Mapping[str, float]) -> None:
        """Tell how like the champion the challenger is.

        Args:
            overlap: share of the items that both show; None while nothing is known.
            drift: population stability index by task.
        """
        self._overlap.set(overlap or 0.0)
        self._drift.clear()
        for task, index in drift.items():
            self._drift.labels(task).set(index)

    def observe_held(self, num_bundles: int) -> None:
        """Tell how many bundles this process has open."""
        self._held.set(num_bundles)

    def render(self) -> bytes:
        """Return everything counted so far in Prometheus' text form."""
        if self.folder is None:
            return generate_latest(self._registry)
        _forget_ended(self.folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self.folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _observe_stage(self, report: StageReport) -> None:
        self._stage_seconds.labels(report.stage).observe(report.time_ms / 1000)
        self._stage_in.labels(report.stage).inc(report.num_in)
        self._stage_out.labels(report.stage).inc(report.num_out)
        self._stage_dropped.labels(report.stage).inc(report.num_dropped)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"millrace_{name}", help_text, labels, registry=self._registry)

    def _total(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(
            f"millrace_{name}",
            help_text,
            labels,
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def _worst(self, name: str, help_text: str) -> Gauge:
        return Gauge(
            f"millrace_{name}", help_text, registry=self._registry, multiprocess_mode="livemax"
        )

    def _histogram(
        self, name: str, help_text: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            f"millrace_{name}", help_text, labels, registry=self._registry, buckets=buckets
        )


def _forget_ended(folder: Path) -> None:
    """Drop the gauges of processes that have ended: nothing is in flight there."""
    for path in folder.glob("gauge_live*_*.db"):
        process_id = int(path.stem.rpartition("_")[2])
        try:
            os.kill(process_id, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except PermissionError:
            continue
