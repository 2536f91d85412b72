"""What the service counts, in Prometheus' text form; knows no stage and no HTTP framework."""

from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

CONTENT_TYPE = CONTENT_TYPE_LATEST
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Set for a replica's process, the client library keeps its counts in files in that folder."""
STAGE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
REQUEST_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


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
        self._stage_seconds = self._histogram(
            "stage_seconds", "time in a stage", "stage", buckets=STAGE_BUCKETS_S
        )
        self._stage_in = self._counter("stage_in", "items that entered a stage", "stage")
        self._stage_out = self._counter("stage_out", "items that left a stage", "stage")
        self._stage_dropped = self._counter("stage_dropped", "items a stage dropped", "stage")
        self._degraded = self._counter("degraded", "answers that were degraded", "reason")
        self._served = self._counter("served_items", "items in answers", "source")
        self._events = self._counter("events", "events accepted", "recommender")

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count one HTTP request."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def observe_stage(self, stage: str, seconds: float, *, num_in: int, num_out: int) -> None:
        """Count one pass of a stage; what did not leave it was dropped."""
        self._stage_seconds.labels(stage).observe(seconds)
        self._stage_in.labels(stage).inc(num_in)
        self._stage_out.labels(stage).inc(num_out)
        self._stage_dropped.labels(stage).inc(max(num_in - num_out, 0))

    def count_degraded(self, reason: str) -> None:
        """Count an answer that a stage fell back in."""
        self._degraded.labels(reason).inc()

    def count_served(self, items_by_source: Mapping[str, int]) -> None:
        """Count the items of an answer by the source that brought them."""
        for source, num_items in items_by_source.items():
            self._served.labels(source).inc(num_items)

    def count_events(self, recommender: str, num_events: int) -> None:
        """Count events that were written into the online store."""
        self._events.labels(recommender).inc(num_events)

    def render(self) -> bytes:
        """Return everything counted so far in Prometheus' text form."""
        if self.folder is None:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=str(self.folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"millrace_{name}", help_text, labels, registry=self._registry)

    def _histogram(
        self, name: str, help_text: str, *labels: str, buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            f"millrace_{name}", help_text, labels, registry=self._registry, buckets=buckets
        )
