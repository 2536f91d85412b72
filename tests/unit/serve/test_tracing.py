"""Spans tell a request's stages, under the caller's trace where it has one."""

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serve.correlation import Correlation, correlated
from serve.spans import Tracer
from serve.tracing import TraceConfig, open_tracer
from tests.unit.serve.test_metrics import passage

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def spans(sample: float, traceparent: str | None = None) -> dict[str, ReadableSpan]:
    exporter = InMemorySpanExporter()
    tracer = Tracer("shop", sample, SimpleSpanProcessor(exporter))
    with correlated(Correlation("r", traceparent)):
        tracer.observe(passage())
    return {span.name: span for span in exporter.get_finished_spans()}


def test_a_request_has_a_span_and_each_call_of_a_stage_one_within() -> None:
    found = spans(1.0)
    request, retrieve = found["recommend"], found["retrieve"]
    assert set(found) == {"recommend", "retrieve", "rank"}
    assert request.attributes is not None
    assert request.attributes["millrace.request_id"] == "r"
    assert request.attributes["millrace.degraded"] == "rank late"
    assert request.resource.attributes["service.name"] == "millrace.shop"
    assert retrieve.parent == request.context
    assert retrieve.attributes is not None
    assert retrieve.attributes["millrace.filter.dropped"] == 50
    assert retrieve.attributes["millrace.waited_ms"] == pytest.approx(6.0)


def test_spans_lie_in_time_as_the_calls_did() -> None:
    found = spans(1.0)
    request, rank = found["recommend"], found["rank"]
    assert request.start_time is not None
    assert request.end_time is not None
    assert rank.start_time is not None
    assert rank.end_time is not None
    assert request.end_time - request.start_time == 220_000_000
    assert rank.start_time - request.start_time == 11_000_000
    assert rank.end_time - rank.start_time == 200_000_000


def test_a_sampled_caller_s_trace_goes_on() -> None:
    request = spans(0.0, f"00-{TRACE}-{PARENT}-01")["recommend"]
    assert request.parent is not None
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT


@pytest.mark.parametrize("traceparent", [f"00-{TRACE}-{PARENT}-00", "nonsense", None])
def test_what_is_not_sampled_leaves_no_span(traceparent: str | None) -> None:
    assert spans(0.0, traceparent) == {}


def test_without_an_endpoint_nothing_is_traced() -> None:
    assert open_tracer(TraceConfig(), "shop") is None


def test_an_endpoint_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="endpoint"):
        TraceConfig(endpoint="collector:4318")
