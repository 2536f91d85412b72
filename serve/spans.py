"""OpenTelemetry spans of requests and their stages; imported only where they are wanted."""

import time

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from serve.correlation import CURRENT
from serve.passage import Call, Passage

SECOND_NS = 1_000_000_000


class Tracer:
    """Makes spans of passages: one per request, and in it one per call of a stage.

    Args:
        recommender: names the service.
        sample: see `serve.tracing.TraceConfig`.
        processor: takes the spans that ended.
    """

    def __init__(self, recommender: str, sample: float, processor: SpanProcessor) -> None:
        self.provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample)),
            resource=Resource.create({"service.name": f"millrace.{recommender}"}),
        )
        self.provider.add_span_processor(processor)
        self._tracer = self.provider.get_tracer("millrace")
        self._propagator = TraceContextTextMapPropagator()

    def observe(self, passage: Passage) -> None:
        """Make the spans of a request that has just been answered."""
        correlation = CURRENT.get()
        given = correlation.traceparent if correlation else None
        context = self._propagator.extract({"traceparent": given} if given else {})
        ended_ns = time.time_ns()
        started_ns = ended_ns - round(passage.seconds * SECOND_NS)
        span = self._tracer.start_span(
            "recommend", context, SpanKind.SERVER, _of_request(passage), start_time=started_ns
        )
        if span.is_recording():
            inside = set_span_in_context(span)
            for call in passage.calls:
                begun_ns = started_ns + round(call.started_s * SECOND_NS)
                child = self._tracer.start_span(
                    call.stage, inside, attributes=_of_call(call), start_time=begun_ns
                )
                child.end(begun_ns + round(call.seconds * SECOND_NS))
        span.end(ended_ns)


def _of_request(passage: Passage) -> dict[str, str]:
    return {
        "millrace.request_id": passage.request_id,
        "millrace.bundle": passage.bundle,
        "millrace.degraded": ", ".join(passage.degraded),
    }


def _of_call(call: Call) -> dict[str, float]:
    """Return the four numbers of each stage that the call reports, and its waiting."""
    attributes: dict[str, float] = {"millrace.waited_ms": 1000 * call.waited_s}
    for report in call.reports:
        name = f"millrace.{report.stage}"
        attributes |= {
            f"{name}.ms": report.time_ms,
            f"{name}.in": report.num_in,
            f"{name}.out": report.num_out,
            f"{name}.dropped": report.num_dropped,
        }
    return attributes
